//! The door: what is taken in hand, what is refused before anything is promised, and how a refusal holds its lane.

use std::time::Duration;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::{MAX_RECORD_BYTES, minted_ms, record::GROUP_OVERHEAD_BYTES};

use super::{Output, Owner, claim::Phase};
use crate::domain::{
    command::{ActorKind, Command, Origin},
    lines::{LineKey, check_minted},
    rules,
};

/// After which a refusal for want of something is worth another try.
pub(super) const RETRY_SOON: Duration = Duration::from_millis(200);
/// The same, where it takes longer to mend.
const RETRY_LATER: Duration = Duration::from_secs(2);

impl Owner {
    pub(super) fn admit(&mut self, commands: Vec<Command>) {
        for command in commands {
            if let Err(refusal) = self.check_door(&command) {
                self.refuse(command.origin, refusal);
                continue;
            }
            let memberships = &self.memberships;
            let line = self
                .lines
                .push(command, |key| memberships.get(key).copied());
            self.arrived(line);
        }
    }

    /// Whether the sender is known to take part in the conversation. Who writes for the first time is not known yet: the session will be asked.
    /// A service takes no part: it decides who does.
    pub fn takes_part(&self, command: &Command) -> bool {
        if command.participants.is_some() {
            return true;
        }
        if command.actor.kind == ActorKind::Service {
            return false;
        }
        let Some(head) = self.memory.head(&command.conversation) else {
            return false;
        };
        let key = LineKey::of(command);
        let told = self.lines.membership(&key);
        let membership = told.or_else(|| self.memberships.get(&key).copied());
        let is_known = !rules::needs_membership(command)
            || membership.is_some_and(|it| Some(it.as_of) >= head.member_seq);
        is_known && rules::may_take_part(command, head, membership).is_ok()
    }

    fn check_door(&mut self, command: &Command) -> Result<(), Refusal> {
        let Origin {
            stream,
            lane,
            lane_generation,
            ..
        } = command.origin;
        if !self.lanes.admits(stream, lane, lane_generation) {
            return Err(out_of_order());
        }
        if let Some(refusal) = &command.refused {
            return Err(Refusal::clone(refusal));
        }
        match self.phase {
            Phase::Unassigned => return Err(not_owner()),
            Phase::Halted => {
                return Err(Refusal::unavailable(
                    "the log of this partition is stopped",
                    RETRY_LATER,
                ));
            }
            _ => {}
        }
        self.check_room(command)?;
        check_minted(command, minted_ms(&command.client_id), self.now_ms)
    }

    fn check_room(&self, command: &Command) -> Result<(), Refusal> {
        let exhausted = |message: String, after| {
            Err(Refusal::new(ErrorCode::ResourceExhausted, message).with_retry_after(after))
        };
        if !self.has_room {
            return exhausted("the disk has no room for messages".to_owned(), RETRY_LATER);
        }
        let lag = self.lag.events();
        if lag >= self.config.max_store_lag_events {
            return exhausted(
                format!("the message store is {lag} events behind"),
                RETRY_LATER,
            );
        }
        let age =
            Duration::from_millis(u64::try_from(self.lag.age_ms(self.now_ms)).unwrap_or_default());
        if age >= self.config.max_store_lag {
            return exhausted(
                format!("the message store is {} s behind", age.as_secs()),
                RETRY_LATER,
            );
        }
        let bytes = command.size_bytes();
        if bytes + GROUP_OVERHEAD_BYTES > MAX_RECORD_BYTES {
            let message =
                format!("the command takes {bytes} bytes, a record holds {MAX_RECORD_BYTES}");
            return Err(Refusal::new(ErrorCode::ContentTooLarge, message).with_field("content"));
        }
        let (commands, in_hand) = (self.lines.commands(), self.lines.bytes());
        if commands >= self.config.max_pending_commands
            || in_hand + bytes > self.config.max_pending_bytes
        {
            return exhausted(
                format!("{commands} commands of {in_hand} bytes are waiting"),
                RETRY_SOON,
            );
        }
        Ok(())
    }

    /// Answers a command that is in no line, and breaks its lane if it may be tried again.
    pub(super) fn refuse(&mut self, origin: Origin, refusal: Refusal) {
        if refusal.is_retryable() {
            self.break_lane(origin, origin.lane_generation);
        }
        self.out.push(Output::Reply {
            origin,
            result: Err(refusal),
        });
    }

    /// Takes a command out of its line and refuses it. If it may be tried again, so do all behind it in its lane: none may overtake it.
    pub(super) fn refuse_in_line(&mut self, line: u64, position: usize, refusal: Refusal) {
        let Some(gone) = self.lines.remove(line, position) else {
            return;
        };
        let origin = gone.command.origin;
        let retryable = refusal.is_retryable();
        self.out.push(Output::Reply {
            origin,
            result: Err(refusal),
        });
        if retryable {
            self.hold_lane(line, position, origin);
        }
    }

    /// Refuses what stands in the line from a position on and is of the lane, and lets nothing of it pass until its caller has taken note.
    pub(super) fn hold_lane(&mut self, line: u64, position: usize, origin: Origin) {
        if origin.lane == 0 {
            return;
        }
        let mut generation = origin.lane_generation;
        let mut at = position;
        while let Some(behind) = self.lines.get(line).and_then(|it| it.queue.get(at)) {
            let next = behind.command.origin;
            if (next.stream, next.lane) != (origin.stream, origin.lane) {
                at += 1;
                continue;
            }
            generation = generation.max(next.lane_generation);
            self.lines.remove(line, at);
            self.out.push(Output::Reply {
                origin: next,
                result: Err(out_of_order()),
            });
        }
        self.break_lane(origin, generation);
    }

    fn break_lane(&mut self, origin: Origin, generation: u32) {
        if self
            .lanes
            .break_up_to(origin.stream, origin.lane, generation)
            .is_err()
        {
            self.out.push(Output::EndStream(origin.stream));
        }
    }

    /// Refuses all that a line holds.
    pub(super) fn refuse_line(&mut self, line: u64, refusal: &Refusal) {
        while self.lines.get(line).is_some_and(|it| !it.queue.is_empty()) {
            self.refuse_in_line(line, 0, refusal.clone());
        }
        self.close_line(line);
    }

    /// Refuses all that is in hand: the partition is not ours, or stopped.
    pub(super) fn refuse_all(&mut self) {
        let refusal = match self.phase {
            Phase::Halted => {
                Refusal::unavailable("the log of this partition is stopped", RETRY_LATER)
            }
            _ => not_owner(),
        };
        self.drop_questions();
        for line in self.lines.numbers() {
            self.refuse_line(line, &refusal);
        }
        self.ready.clear();
    }

    /// Ends a line that is empty, and keeps what is known of its sender.
    pub(super) fn close_line(&mut self, line: u64) {
        if let Some((key, membership)) = self.lines.close_if_empty(line)
            && membership.is_permission()
        {
            self.memberships.put(key, membership, 0, i64::MIN);
            // Bounded: what is forgotten is asked for again.
            if self.memberships.can_evict(u64::MAX) {
                self.memberships.evict(std::iter::empty());
            }
        }
    }
}

fn out_of_order() -> Refusal {
    Refusal::new(
        ErrorCode::RetryInOrder,
        "an earlier command of this lane was refused: send that one again first",
    )
}

fn not_owner() -> Refusal {
    Refusal::new(
        ErrorCode::NotOwner,
        "this process does not own the conversation's partition",
    )
    .with_retry_after(RETRY_SOON)
}
