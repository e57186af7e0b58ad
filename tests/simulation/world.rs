//! One seed's world: owners, log, store, clients, and what goes wrong between them.

use std::time::Duration;

use flare_checker::{Checker, Client, ClientEvent, Record, Verdict};
use flare_im::history::Translator;
use flare_message_orchestrator::owner::{
    Command, Input, MemoryLimits, Origin, Output, Owner, OwnerConfig, Placement,
};
use flare_server_core::error::Refusal;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    clients::{Sender, Session, USERS},
    log::Log,
    store::{Store, Writer},
};

const BEGIN_MS: i64 = 1_700_000_000_000;
/// Turns after which a client sends again what nobody answered.
const PATIENCE: u32 = 6;
/// Turns in which everything comes to rest once the faults have stopped.
const REST: u32 = 20_000;

/// Which faults there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) lossy: bool,
    pub(super) reorder: bool,
    crashes: bool,
    clock: bool,
    lost_answers: bool,
}

impl Faults {
    pub(super) const ALL: Self = Self {
        lossy: true,
        reorder: true,
        crashes: true,
        clock: true,
        lost_answers: true,
    };
    const NONE: Self = Self {
        lossy: false,
        reorder: false,
        crashes: false,
        clock: false,
        lost_answers: false,
    };
}

/// An owner's process.
struct Seat {
    owner: Owner,
    life: u32,
    assigned: bool,
    /// What it asked for and has no answer to yet.
    asked: Vec<Output>,
}

pub(super) struct World {
    rng: StdRng,
    faults: Faults,
    clock_ms: i64,
    seats: Vec<Seat>,
    log: Log,
    store: Store,
    writer: Writer,
    senders: Vec<Sender>,
    session: Session,
    history: Vec<Record>,
    correlation: u64,
    /// Correlations of what is under way: a sender by index, or the session.
    routes: std::collections::HashMap<u64, Option<usize>>,
    takeovers: u64,
}

fn config(seat: usize) -> OwnerConfig {
    OwnerConfig {
        name: format!("owner {seat}"),
        // Small, so that what was forgotten is asked for again and again.
        memory: MemoryLimits {
            heads: 3,
            ids: 8,
            messages: 8,
            part_entries: 2,
        },
        memberships: 4,
        max_pending_commands: 100,
        max_pending_bytes: 1 << 20,
        max_broken_lanes: 10,
        max_store_lag_events: 60,
        max_store_lag: Duration::from_secs(600),
        recall_window: Duration::from_secs(120),
        max_authorise_attempts: 3,
        hooks: false,
    }
}

impl World {
    pub(super) fn new(seed: u64, owners: usize, faults: Faults) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let seats = (0..owners)
            .map(|seat| Seat {
                owner: Owner::new(config(seat), rng.random()),
                life: 0,
                assigned: false,
                asked: Vec::new(),
            })
            .collect();
        Self {
            rng,
            faults,
            clock_ms: BEGIN_MS,
            seats,
            log: Log::default(),
            store: Store::default(),
            writer: Writer::new(Default::default()),
            senders: USERS.map(Sender::new).into(),
            session: Session::new(),
            history: Vec::new(),
            correlation: 0,
            routes: Default::default(),
            takeovers: 0,
        }
    }

    pub(super) fn history(&self) -> &Vec<Record> {
        &self.history
    }

    fn note(&mut self, client: Client, event: ClientEvent) {
        let index = self.history.len() as u64 + 1;
        self.history.push(Record {
            client,
            index,
            time_ms: self.clock_ms,
            event,
        });
    }

    /// One thing happens.
    pub(super) fn turn(&mut self) {
        self.clock_ms += self.rng.random_range(0..20);
        match self.rng.random_range(0..100) {
            0..25 => self.clients_turn(),
            25..28 => self.session_turn(),
            28..64 => self.answer_somebody(),
            64..80 => self.log_turn(),
            80..92 => self.writer_turn(),
            92 if self.faults.crashes && self.rng.random_bool(0.25) => self.crash_owner(),
            93 if self.faults.crashes => self.writer = Writer::new(self.store.cursor),
            94 if self.rng.random_bool(0.4) => self.reassign(),
            95 if self.faults.clock => self.clock_ms += self.rng.random_range(-60_000..120_000),
            _ => self.answer_somebody(),
        }
    }

    /// No more faults and no more new commands: until all is answered and stored.
    pub(super) fn rest(&mut self) {
        self.faults = Faults::NONE;
        for seat in 1..self.seats.len() {
            if self.seats[seat].assigned {
                self.seats[seat].assigned = false;
                self.step(seat, Input::Revoked);
            }
        }
        for turn in 0..REST {
            self.clock_ms += 1;
            if !self.seats[0].assigned {
                self.seats[0].assigned = true;
                self.step(0, Input::Assigned);
            }
            self.log_turn();
            for seat in 0..self.seats.len() {
                while !self.seats[seat].asked.is_empty() {
                    self.answer(seat, 0);
                }
            }
            self.writer_turn();
            for index in 0..self.senders.len() {
                if self.senders[index].under_way.is_some() {
                    self.wait_or_resend(index);
                }
            }
            if let (Some((command, _)), true) =
                (&self.session.under_way, turn.is_multiple_of(PATIENCE))
            {
                let command = command.clone();
                self.submit(None, command);
            }
            let idle = self.senders.iter().all(|it| it.under_way.is_none())
                && self.session.under_way.is_none()
                && self.log.is_idle()
                && self.store.cursor.next_offset == self.log.records.len() as u64;
            if idle {
                return;
            }
        }
        panic!("the world did not come to rest");
    }

    /// What the checker says of the clients' histories and the store.
    pub(super) fn verdict(mut self) -> Verdict {
        let harness = Client::new("harness", "harness", "harness");
        for epoch in 1..=self.takeovers {
            self.note(harness.clone(), ClientEvent::Takeover { epoch });
        }
        let mut checker = Checker::new();
        checker.declare_store_known();
        checker.declare_all_senders_recorded();
        self.history.iter().for_each(|record| checker.add(record));
        let mut translator = Translator::default();
        for event in &self.store.events {
            match translator.event(event.event().clone()) {
                Ok(event) => checker.add_server_event(&event),
                Err(error) => panic!("a stored event does not decode: {error}"),
            }
        }
        checker.verdict()
    }

    fn clients_turn(&mut self) {
        let index = self.rng.random_range(0..self.senders.len());
        if self.senders[index].under_way.is_some() {
            return self.wait_or_resend(index);
        }
        let client = self.senders[index].client();
        // Now and then an old command comes again, of any age.
        let old = !self.senders[index].done.is_empty() && self.rng.random_bool(0.2);
        let command = if old {
            let which = self.rng.random_range(0..self.senders[index].done.len());
            let command = self.senders[index].done[which].clone();
            self.note(
                client,
                ClientEvent::Resent {
                    client_id: command.client_id.to_string(),
                },
            );
            command
        } else {
            let (command, intent) = self.senders[index].compose(&mut self.rng, self.clock_ms);
            self.note(client, ClientEvent::Intent(intent));
            command
        };
        self.senders[index].under_way = Some(command.clone());
        self.senders[index].waiting = 0;
        self.submit(Some(index), command);
    }

    fn wait_or_resend(&mut self, index: usize) {
        let sender = &mut self.senders[index];
        sender.waiting += 1;
        let (Some(command), true) = (
            sender.under_way.clone(),
            sender.waiting.is_multiple_of(PATIENCE),
        ) else {
            return;
        };
        let client = sender.client();
        self.note(
            client,
            ClientEvent::Resent {
                client_id: command.client_id.to_string(),
            },
        );
        self.submit(Some(index), command);
    }

    fn session_turn(&mut self) {
        let fresh = self.session.compose(&mut self.rng);
        let again = self
            .session
            .under_way
            .as_ref()
            .map(|(command, _)| command.clone());
        if let Some(command) = fresh.or(again) {
            self.submit(None, command);
        }
    }

    /// To an owner who should have it; where two believe, to either.
    fn submit(&mut self, from: Option<usize>, mut command: Command) {
        self.correlation += 1;
        // Only the latest answer counts.
        self.routes.retain(|_, route| *route != from);
        self.routes.insert(self.correlation, from);
        command.origin = Origin {
            correlation: self.correlation,
            ..Origin::default()
        };
        let assigned: Vec<usize> = (0..self.seats.len())
            .filter(|it| self.seats[*it].assigned)
            .collect();
        if assigned.is_empty() {
            return;
        }
        let seat = assigned[self.rng.random_range(0..assigned.len())];
        self.step(seat, Input::Commands(vec![command]));
    }

    fn reply(&mut self, origin: Origin, result: Result<Placement, Refusal>) {
        if self.faults.lost_answers && self.rng.random_bool(0.1) {
            return;
        }
        match self.routes.remove(&origin.correlation) {
            None => {}
            Some(None) => self.session.answered(result),
            Some(Some(index)) => {
                let client = self.senders[index].client();
                if let Some(event) = self.senders[index].answered(result) {
                    self.note(client, event);
                }
            }
        }
    }

    fn step(&mut self, seat: usize, input: Input) {
        let life = self.seats[seat].life;
        let outputs = self.seats[seat].owner.step(self.clock_ms, input);
        for output in outputs {
            match output {
                Output::Append { append, record, .. } => {
                    self.log.append((seat, life), append, record)
                }
                Output::Reply { origin, result } => self.reply(origin, result),
                Output::Owned => self.takeovers += 1,
                Output::Halt(reason) => panic!("owner {seat} halts: {reason}"),
                Output::EndStream(_) | Output::Lost | Output::Skipped(_) => {}
                asked => self.seats[seat].asked.push(asked),
            }
        }
    }

    fn answer_somebody(&mut self) {
        let seat = self.rng.random_range(0..self.seats.len());
        let waiting = self.seats[seat].asked.len();
        if waiting > 0 {
            let which = self.rng.random_range(0..waiting);
            self.answer(seat, which);
        }
    }

    fn answer(&mut self, seat: usize, which: usize) {
        let fails = self.faults.lossy && self.rng.random_bool(0.03);
        let input = match self.seats[seat].asked.remove(which) {
            Output::ReadCursor { fold } if fails => Input::FoldFailed { fold },
            Output::ReadCursor { fold } => Input::CursorRead {
                fold,
                cursor: self.store.cursor,
            },
            Output::ReadLog { fold, from } => {
                let there = self.log.records.len();
                let page = self.rng.random_range(1..=10);
                let records: Vec<_> = (0u64..)
                    .zip(self.log.records.iter().cloned())
                    .skip(from as usize)
                    .take(page)
                    .collect();
                let at_end = from as usize + records.len() >= there;
                Input::LogRead {
                    fold,
                    records,
                    at_end,
                }
            }
            Output::BackOff { fold, .. } => Input::BackedOff { fold },
            Output::Read { read, .. } if fails => Input::ReadAnswered { read, answer: None },
            Output::Read { read, request } => Input::ReadAnswered {
                read,
                answer: Some(self.store.read(&request)),
            },
            Output::Authorise { ask, .. } if fails => Input::Authorised { ask, answers: None },
            Output::Authorise { ask, items, .. } => {
                let answers = items
                    .iter()
                    .map(|(key, user)| self.session.membership(&key.conversation, user))
                    .collect();
                Input::Authorised {
                    ask,
                    answers: Some(answers),
                }
            }
            other => panic!("nobody answers {other:?}"),
        };
        self.step(seat, input);
    }

    fn log_turn(&mut self) {
        if let Some(told) = self.log.turn(&mut self.rng, self.faults) {
            let (seat, life) = told.owner;
            // The report of an owner that crashed is nobody's.
            if self.seats[seat].life == life {
                self.step(
                    seat,
                    Input::Appended {
                        append: told.append,
                        report: told.report,
                    },
                );
            }
        }
    }

    fn writer_turn(&mut self) {
        let at_once = self.rng.random_range(1..=5);
        self.writer
            .turn(&self.log.records, at_once, &mut self.store);
        for seat in 0..self.seats.len() {
            if !self.faults.lossy || self.rng.random_bool(0.5) {
                self.step(seat, Input::CursorMoved(self.store.cursor));
            }
        }
    }

    fn crash_owner(&mut self) {
        let index = self.rng.random_range(0..self.seats.len());
        let seed = self.rng.random();
        let seat = &mut self.seats[index];
        seat.owner = Owner::new(config(index), seed);
        seat.life += 1;
        seat.asked.clear();
        if seat.assigned {
            self.step(index, Input::Assigned);
        }
    }

    /// The assignment moves, or is held by two, or by nobody.
    fn reassign(&mut self) {
        let seat = self.rng.random_range(0..self.seats.len());
        let assigned = !self.seats[seat].assigned;
        // Who is assigned stays so for a while.
        if assigned || self.rng.random_bool(0.2) {
            self.seats[seat].assigned = assigned;
            self.step(
                seat,
                if assigned {
                    Input::Assigned
                } else {
                    Input::Revoked
                },
            );
        }
    }
}
