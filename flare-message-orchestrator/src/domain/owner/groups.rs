//! One group is in flight, the next gathers, until its turn comes where groups have turns: no timers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{Applied, LogRecord, apply, record};

use super::{AppendReport, Origin, Output, Owner, Turn, admission::RETRY_SOON, claim::Phase};
use crate::domain::{
    command::Placement,
    decide::{Group, Outcome, Verdict},
    lines::Decided,
    memory::IdDigest,
};

/// So many commands of one line are decided before the next line has its turn.
const TURN: usize = 64;

/// A group whose append is not reported.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) append: u64,
    record: LogRecord,
    /// In the order of decisions. Nothing of it is told before the group counts, for each may rest on the one before it.
    pub(super) decided: Vec<Decided>,
}

impl Owner {
    /// Decides what is ready and appends it, unless a group is in flight.
    pub(super) fn gather(&mut self) {
        if !self.is_owning() || self.ready.is_empty() {
            return;
        }
        // While a group is in flight, too: the next one waits for both at once.
        if self.config.waits_for_turns && self.turn == Turn::NotAsked {
            self.turn = Turn::Asked;
            self.out.push(Output::AwaitTurn);
        }
        if self.flight.is_some() || self.turn == Turn::Asked {
            return;
        }
        let mut group = Group::new(
            &self.memory,
            self.log.epoch,
            self.log.n,
            self.now_ms,
            self.config.recall_window,
            self.config.log_is_shared,
        );
        let mut decided: Vec<Decided> = Vec::new();
        let mut unready = Vec::new();
        'group: while let Some(number) = self.ready.pop_front() {
            for turn in 0.. {
                let Some(line) = self.lines.get_mut(number) else {
                    break;
                };
                line.scheduled = false;
                let Some(first) = line.queue.front() else {
                    break;
                };
                if turn == TURN {
                    line.scheduled = true;
                    self.ready.push_back(number);
                    break;
                }
                match group.decide(first, line.membership, self.config.hooks) {
                    Verdict::Decided(outcome) => {
                        let Some(pending) = self.lines.take_first(number) else {
                            break;
                        };
                        decided.push(Decided {
                            line: number,
                            pending,
                            outcome,
                        });
                    }
                    Verdict::NotYet => {
                        unready.push(number);
                        break;
                    }
                    Verdict::Full => {
                        line.scheduled = true;
                        self.ready.push_front(number);
                        break 'group;
                    }
                }
            }
        }
        match group.into_record() {
            Some(record) => self.append(record, decided),
            None => self.answer(decided, &[]),
        }
        for line in unready {
            self.prepare(line);
        }
    }

    fn append(&mut self, record: LogRecord, decided: Vec<Decided>) {
        let events = match &record {
            LogRecord::Group { events, .. } => events.len(),
            LogRecord::Takeover { .. } => 0,
        };
        match record::encode(&record) {
            Ok(bytes) => {
                let append = self.request();
                self.turn = Turn::NotAsked;
                self.flight = Some(Flight {
                    append,
                    record,
                    decided,
                });
                self.out.push(Output::Append {
                    append,
                    record: bytes,
                    events,
                });
            }
            Err(error) => {
                // Each event was checked, and their sizes were added up.
                self.halt(format!("a group cannot be written: {error}"));
            }
        }
    }

    pub(super) fn appended(&mut self, asked: u64, report: AppendReport) {
        if let Phase::Claiming {
            append,
            epoch,
            claims,
        } = self.phase
            && append == asked
        {
            return self.marker_appended(report, epoch, claims);
        }
        let Phase::Owning { marker, .. } = self.phase else {
            return;
        };
        let Some(flight) = self.flight.take_if(|it| it.append == asked) else {
            return;
        };
        match report {
            AppendReport::At(offset) if self.is_in_place(marker, offset) => {
                self.landed(offset, flight)
            }
            AppendReport::NoRoom => self.turned_away(flight),
            AppendReport::At(_) | AppendReport::Unknown => {
                self.flight = Some(flight);
                self.end_epoch();
            }
        }
    }

    /// The ack rule: between the marker and this offset lie the epoch's groups and nothing else.
    fn is_in_place(&self, marker: u64, offset: u64) -> bool {
        #[cfg(feature = "mutants")]
        if flare_storage_model::mutants::Mutant::AckOnDurable.is_made() {
            return true;
        }
        offset == marker + 1 + self.log.n
    }

    fn landed(&mut self, offset: u64, flight: Flight) {
        let Flight {
            record, decided, ..
        } = flight;
        match apply(&mut self.log, offset, &record) {
            Applied::Group(events) => {
                self.lag.grow(offset, events.len(), self.log.time_ms);
                let mut ids = decided.iter().filter_map(placed_id);
                for event in events {
                    if let Err(broken) = self.memory.follow(offset, event, ids.next()) {
                        drop(ids);
                        self.take_back(decided);
                        self.halt(format!("own group at offset {offset}: {broken}"));
                        return;
                    }
                }
                drop(ids);
                let receipts: Vec<_> = events
                    .iter()
                    .map(flare_storage_model::LoggedEvent::receipt)
                    .collect();
                self.answer(decided, &receipts);
            }
            other => {
                let reason = format!("own group at offset {offset} does not count: {other:?}");
                self.take_back(decided);
                self.halt(reason);
                return;
            }
        }
        self.forget_what_is_stored();
    }

    /// Keeps the memory within its bounds, as far as the store holds what goes.
    pub(super) fn forget_what_is_stored(&mut self) {
        if self.memory.can_evict(self.lag.stored()) {
            let named = self.lines.named();
            self.memory.evict(self.lag.stored(), &named);
        }
    }

    fn answer(&mut self, decided: Vec<Decided>, receipts: &[flare_storage_model::Receipt]) {
        for Decided {
            line,
            pending,
            outcome,
        } in decided
        {
            let origin = pending.command.origin;
            let (receipt, duplicate) = match outcome {
                Outcome::Placed(index) => (receipts.get(index).copied(), false),
                Outcome::Duplicate(receipt) => (Some(receipt), true),
                Outcome::Refused(refusal) => {
                    self.lines.answered(line, pending.bytes);
                    self.refuse(origin, refusal);
                    self.close_line(line);
                    continue;
                }
            };
            let conversation = pending.command.conversation.conversation;
            let result = receipt
                .map(|receipt| Placement {
                    conversation,
                    receipt,
                    duplicate,
                })
                .ok_or_else(|| Refusal::internal("a placed command has no event"));
            self.lines.answered(line, pending.bytes);
            self.out.push(Output::Reply { origin, result });
            self.close_line(line);
        }
    }

    /// The log has no room: the group is not there and never will be, so its commands are refused and the epoch goes on.
    fn turned_away(&mut self, flight: Flight) {
        self.has_room = false;
        let mut lines: Vec<u64> = flight.decided.iter().map(|it| it.line).collect();
        self.put_back(flight.decided);
        lines.sort_unstable();
        lines.dedup();
        let refusal = Refusal::new(
            ErrorCode::ResourceExhausted,
            "the disk has no room for messages",
        )
        .with_retry_after(Duration::from_secs(2));
        for line in lines {
            self.refuse_line(line, &refusal);
        }
    }

    /// What was in flight may have its places or not.
    pub(super) fn take_back_flight(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.take_back(flight.decided);
        }
    }

    /// Has a group decided again of which nobody knows whether it counts; but for lanes in which something was refused for good before something else.
    /// That refusal was told to nobody and is remembered nowhere, so what was refused could be placed now, behind what came after it: whoever
    /// sent these is told that their outcome is unknown.
    fn take_back(&mut self, decided: Vec<Decided>) {
        let doubtful = doubtful_lanes(&decided);
        let (told, again): (Vec<_>, Vec<_>) = decided.into_iter().partition(|it| {
            let origin = it.pending.command.origin;
            doubtful.contains(&(origin.stream, origin.lane))
        });
        self.put_back(again);
        let mut last: BTreeMap<(u64, u64), (u64, Origin)> = BTreeMap::new();
        for Decided { line, pending, .. } in told {
            let origin = pending.command.origin;
            self.lines.answered(line, pending.bytes);
            self.out.push(Output::Reply {
                origin,
                result: Err(unknown_outcome()),
            });
            last.insert((origin.stream, origin.lane), (line, origin));
        }
        for (line, origin) in last.into_values() {
            self.hold_lane(line, 0, origin);
            self.close_line(line);
        }
    }

    fn put_back(&mut self, decided: Vec<Decided>) {
        for Decided { line, pending, .. } in decided.into_iter().rev() {
            self.lines.put_back(line, pending);
        }
    }
}

/// The streams and lanes in which a refusal for good was followed by something.
fn doubtful_lanes(decided: &[Decided]) -> BTreeSet<(u64, u64)> {
    let (mut refused, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    for Decided {
        pending, outcome, ..
    } in decided
    {
        let Origin { stream, lane, .. } = pending.command.origin;
        if lane == 0 {
            continue;
        }
        if refused.contains(&(stream, lane)) {
            doubtful.insert((stream, lane));
        }
        if matches!(outcome, Outcome::Refused(_)) {
            refused.insert((stream, lane));
        }
    }
    doubtful
}

fn unknown_outcome() -> Refusal {
    Refusal::new(
        ErrorCode::DeadlineExceeded,
        "the log was lost before it said where this stands: it may have been placed, or not; send it again",
    )
    .with_retry_after(RETRY_SOON)
}

fn placed_id(decided: &Decided) -> Option<IdDigest> {
    matches!(decided.outcome, Outcome::Placed(_)).then_some(decided.pending.id)
}
