//! One seed's world: owners, log, store, gateway, users, and what goes wrong between them.

mod answers;
mod sending;

use std::time::Duration;

use flare_checker::{Checker, Client, ClientEvent, Record, Verdict};
use flare_history::Translator;
use flare_message_orchestrator::owner::{Input, MemoryLimits, Output, Owner, OwnerConfig};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    clients::{USERS, User},
    faults::{Bites, Faults},
    gateway::{Gateway, Stream},
    log::Log,
    session::Session,
    store::{Store, Writer},
};

const BEGIN_MS: i64 = 1_700_000_000_000;
/// Turns in which everything comes to rest once the faults have stopped.
const REST: u32 = 20_000;

/// An owner's process.
struct Seat {
    owner: Owner,
    life: u32,
    assigned: bool,
    /// What it asked for and has no answer to yet.
    asked: Vec<Output>,
}

pub(crate) struct World {
    rng: StdRng,
    faults: Faults,
    clock_ms: i64,
    /// Goes forward only: by it the gateway's patience runs.
    monotonic_ms: u64,
    hooks: bool,
    seats: Vec<Seat>,
    log: Log,
    store: Store,
    writer: Writer,
    /// storage-writer does nothing until then.
    stalled_until_ms: u64,
    gateway: Gateway,
    users: Vec<User>,
    session: Session,
    history: Vec<Record>,
    /// Of the last stream of commands.
    last_stream: u64,
    /// Streams that are over, and that their owners have not heard of.
    over: Vec<Stream>,
    /// The stream of the session's latest submission.
    session_stream: Option<Stream>,
    pub(crate) bites: Bites,
    /// What must not be, found before the checker is asked.
    broken: Option<String>,
    /// What happened, if somebody wants to read it.
    trace: Option<Vec<String>>,
}

fn config(seat: usize, hooks: bool, log_is_shared: bool) -> OwnerConfig {
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
        max_broken_lanes: 6,
        max_store_lag_events: 60,
        max_store_lag: Duration::from_secs(600),
        recall_window: Duration::from_secs(120),
        max_authorise_attempts: 3,
        hooks,
        log_is_shared,
        waits_for_turns: false,
    }
}

impl World {
    pub(crate) fn new(seed: u64, owners: usize, traced: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let hooks = rng.random_bool(0.3);
        let seats = (0..owners)
            .map(|seat| Seat {
                owner: Owner::new(config(seat, hooks, owners > 1), rng.random()),
                life: 0,
                assigned: false,
                asked: Vec::new(),
            })
            .collect();
        Self {
            rng,
            faults: Faults::ALL,
            clock_ms: BEGIN_MS,
            monotonic_ms: 0,
            hooks,
            seats,
            log: Log::default(),
            store: Store::default(),
            writer: Writer::new(Default::default()),
            stalled_until_ms: 0,
            gateway: Gateway::new(USERS.len()),
            users: USERS.map(User::new).into(),
            session: Session::new(),
            history: Vec::new(),
            last_stream: 0,
            over: Vec::new(),
            session_stream: None,
            bites: Bites::default(),
            broken: None,
            trace: traced.then(Vec::new),
        }
    }

    /// What must not be, if it was seen.
    pub(crate) fn broken(&self) -> Option<&String> {
        self.broken.as_ref()
    }

    /// What happened, line by line.
    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    pub(crate) fn history(&self) -> &[Record] {
        &self.history
    }

    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    fn note(&mut self, client: Client, event: ClientEvent) {
        self.tell(|| format!("{client}: {event:?}"));
        let index = self.history.len() as u64 + 1;
        self.history.push(Record {
            client,
            index,
            time_ms: self.clock_ms,
            event,
        });
    }

    fn pass(&mut self, ms: u64) {
        self.monotonic_ms += ms;
        self.clock_ms += i64::try_from(ms).unwrap_or_default();
    }

    /// One thing happens.
    pub(crate) fn turn(&mut self) {
        let passed = self.rng.random_range(0..20);
        self.pass(passed);
        match self.rng.random_range(0..1_000) {
            0..140 => self.compose(),
            140..280 => self.user_turn(),
            280..310 => self.session_turn(),
            310..430 => self.gateway_turn(),
            430..680 => self.answer_somebody(),
            680..830 => self.log_turn(),
            830..930 => self.writer_turn(),
            930..936 => self.crash_owner(),
            936..946 => self.crash_writer(),
            946..949 => self.lose_power(),
            949..957 => self.reassign(),
            957..965 => self.jump(),
            965..973 => self.break_stream(),
            973..979 => self.break_connection(),
            979..982 => self.stall(),
            982..986 => self.give_up(),
            _ => self.end_streams(),
        }
    }

    /// No more faults and no more new commands: until all is answered and stored.
    pub(crate) fn rest(&mut self) {
        self.faults = Faults::NONE;
        self.stalled_until_ms = 0;
        for seat in 1..self.seats.len() {
            self.assign(seat, false);
        }
        for _ in 0..REST {
            if self.broken.is_some() || self.is_at_rest() {
                return;
            }
            self.pass(1);
            self.assign(0, true);
            self.log_turn();
            for seat in 0..self.seats.len() {
                // What the answers lead to has its turn after the store's.
                for _ in 0..self.seats[seat].asked.len() {
                    self.answer(seat, 0);
                }
            }
            self.writer_turn();
            self.end_streams();
            for user in 0..self.users.len() {
                self.leave(user);
            }
            self.gateway_turn();
            if self.session.under_way.is_some() && self.session_stream.is_none() {
                self.session_turn();
            }
        }
        self.breaks("the world did not come to rest".to_owned());
    }

    fn is_at_rest(&self) -> bool {
        self.users.iter().all(User::is_idle)
            && self.gateway.is_idle()
            && self.session.under_way.is_none()
            && self.log.is_idle()
            && self.store.cursor.next_offset == self.log.records.len() as u64
    }

    /// What the checker says of the users' histories and the store.
    pub(crate) fn verdict(&self) -> Verdict {
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

    fn step(&mut self, seat: usize, input: Input) {
        if self.broken.is_some() {
            return;
        }
        self.tell(|| format!("owner {seat} < {}", short(&format!("{input:?}"))));
        let life = self.seats[seat].life;
        let outputs = self.seats[seat].owner.step(self.clock_ms, input);
        for output in outputs {
            self.tell(|| format!("owner {seat} > {}", short(&format!("{output:?}"))));
            match output {
                Output::Append { append, record, .. } => {
                    self.log.append((seat, life), append, record);
                }
                Output::Reply { origin, result } => self.receipt(origin, result),
                Output::Owned => self.bites.takeovers += 1,
                Output::Lost => self.bites.losses += 1,
                Output::Skipped(_) => self.bites.skipped += 1,
                Output::EndStream(stream) => self.stream_ended(stream),
                Output::Halt(reason) => self.breaks(format!("owner {seat} halts: {reason}")),
                asked => self.seats[seat].asked.push(asked),
            }
        }
    }

    fn log_turn(&mut self) {
        if let Some(told) = self.log.turn(&mut self.rng, self.faults) {
            let (seat, life) = told.owner;
            // The report of an owner that crashed is nobody's.
            if self.seats[seat].life == life {
                let input = Input::Appended {
                    append: told.append,
                    report: told.report,
                };
                self.step(seat, input);
                // What has found room again is told so by the disk.
                self.step(seat, Input::Room(true));
            }
        }
    }

    fn writer_turn(&mut self) {
        if self.monotonic_ms < self.stalled_until_ms {
            return;
        }
        let at_once = self.rng.random_range(1..=5);
        if let Err(why) = self
            .writer
            .turn(&self.log.records, at_once, &mut self.store)
        {
            return self.breaks(why);
        }
        for seat in 0..self.seats.len() {
            if !self.faults.lossy || self.rng.random_bool(0.5) {
                self.step(seat, Input::CursorMoved(self.store.cursor));
            }
        }
    }

    fn crash_owner(&mut self) {
        let seat = self.rng.random_range(0..self.seats.len());
        self.bites.owner_crashes += 1;
        self.begin_life(seat);
    }

    fn begin_life(&mut self, index: usize) {
        let seed = self.rng.random();
        let config = config(index, self.hooks, self.seats.len() > 1);
        let seat = &mut self.seats[index];
        seat.owner = Owner::new(config, seed);
        seat.life += 1;
        seat.asked.clear();
        for (way, stream) in self.gateway.ways() {
            if stream.seat == index {
                self.bites.broken_streams += 1;
                self.end_way(way);
            }
        }
        if self.session_stream.is_some_and(|it| it.seat == index) {
            self.session_stream = None;
        }
        if self.seats[index].assigned {
            self.step(index, Input::Assigned);
        }
    }

    fn crash_writer(&mut self) {
        self.bites.writer_crashes += 1;
        self.writer = Writer::new(self.store.cursor);
    }

    /// Everything ends at once, and with it what the log had not made durable.
    fn lose_power(&mut self) {
        self.bites.power_losses += 1;
        self.bites.torn += self.log.lose_power(&mut self.rng);
        self.crash_writer();
        for seat in 0..self.seats.len() {
            self.begin_life(seat);
        }
    }

    /// The assignment moves, or is held by several, or by nobody.
    fn reassign(&mut self) {
        let seat = self.rng.random_range(0..self.seats.len());
        let assigned = !self.seats[seat].assigned;
        // Who is assigned stays so for a while.
        if assigned || self.rng.random_bool(0.2) {
            self.assign(seat, assigned);
        }
    }

    fn assign(&mut self, seat: usize, assigned: bool) {
        if std::mem::replace(&mut self.seats[seat].assigned, assigned) != assigned {
            let input = if assigned {
                Input::Assigned
            } else {
                Input::Revoked
            };
            self.step(seat, input);
        }
    }

    fn jump(&mut self) {
        self.bites.clock_jumps += 1;
        self.clock_ms += self.rng.random_range(-60_000..120_000);
    }

    fn stall(&mut self) {
        self.bites.stalls += 1;
        self.stalled_until_ms = self.monotonic_ms + self.rng.random_range(500..4_000);
    }
}

/// Bytes take much room and say little.
fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
