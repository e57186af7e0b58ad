//! The owner of a partition: a synchronous state machine. Whoever drives it does the I/O that the outputs ask for and brings the answers
//! as inputs; answers that come late, twice or never cost time, not truth.
//!
//! Two rules make it safe, whatever the log's client does: receipts leave only when an append reports the offset behind the owner's marker
//! that its index says, and state changes only by what the log says.

mod admission;
mod claim;
mod groups;
mod hooking;
mod knowledge;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_storage_model::{
    ConversationKey, Fingerprint, Head, IdKey, LogState, Receipt, SkipReason,
};

use self::{
    claim::Phase,
    groups::Flight,
    knowledge::{Ask, ReadBatch, Wants},
};
pub use super::{
    command::{Action, Actor, ActorKind, Command, Membership, Origin, Placement, Role, Standing},
    memory::{BrokenLog, MemoryLimits, Target},
};
use super::{
    generations::Generations,
    lanes::Lanes,
    lines::{LineKey, Lines},
    memory::Memory,
    store_lag::StoreLag,
};

/// The owner's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerConfig {
    /// A name for people, written into the log with each takeover.
    pub name: String,
    /// What is remembered.
    pub memory: MemoryLimits,
    /// Memberships that are kept.
    pub memberships: usize,
    /// Commands in hand, at most.
    pub max_pending_commands: usize,
    /// Bytes of commands in hand, at most.
    pub max_pending_bytes: usize,
    /// Broken lanes that are remembered; beyond, the stream of the next one is ended.
    pub max_broken_lanes: usize,
    /// Commands are refused while the store lacks so many events.
    pub max_store_lag_events: usize,
    /// Commands are refused while the store lacks an event for so long.
    pub max_store_lag: Duration,
    /// How long a message may be taken back by its sender.
    pub recall_window: Duration,
    /// How often the session is asked for an answer that includes the last member event.
    pub max_authorise_attempts: u32,
    /// Whether PreSend hooks are asked.
    pub hooks: bool,
    /// Whether other processes may append to the log. Then what is refused for good by what the log says is told behind a group, which proves that
    /// nobody else has the partition: an owner that was deposed and has not heard of it knows too little to refuse.
    pub log_is_shared: bool,
    /// Whether a group waits for its turn among those of other owners.
    pub waits_for_turns: bool,
}

/// What an owner is told. Answers bear the number of the output that asked.
#[derive(Clone, Debug)]
pub enum Input {
    /// The partition is ours to try.
    Assigned,
    /// It is not.
    Revoked,
    /// Up to where the store holds the partition: answers `ReadCursor`.
    CursorRead {
        /// As asked.
        fold: u64,
        /// The store's fold.
        cursor: LogState,
    },
    /// Records by rising offset without a hole: answers `ReadLog`.
    LogRead {
        /// As asked.
        fold: u64,
        /// Offsets and bytes.
        records: Vec<(u64, Bytes)>,
        /// Whether these reach the durable end.
        at_end: bool,
    },
    /// Cursor or log could not be read, or the log begins above what was asked for.
    FoldFailed {
        /// As asked.
        fold: u64,
    },
    /// The pause is over.
    BackedOff {
        /// As asked.
        fold: u64,
    },
    /// The log reports an append.
    Appended {
        /// As asked.
        append: u64,
        /// What became of it.
        report: AppendReport,
    },
    /// The next group may be made: answers `AwaitTurn`.
    TurnCame,
    /// Commands, in the order in which they came.
    Commands(Vec<Command>),
    /// What the store has: answers `Read`. None: it cannot answer.
    ReadAnswered {
        /// As asked.
        read: u64,
        /// In the order of what was asked.
        answer: Option<ReadAnswer>,
    },
    /// What users are to conversations, in the order of what was asked. None: nobody can tell.
    Authorised {
        /// As asked.
        ask: u64,
        /// One for each item.
        answers: Option<Vec<Membership>>,
    },
    /// What the PreSend hooks say.
    HooksAnswered {
        /// As asked.
        hook: u64,
        /// Their verdict.
        verdict: HookVerdict,
    },
    /// The store has moved on.
    CursorMoved(LogState),
    /// Whether the log takes appends: false while the disk has no room.
    Room(bool),
    /// A stream of commands has ended: its lanes end with it.
    StreamEnded(u64),
}

/// What the log says of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendReport {
    /// The record stands there, durably.
    At(u64),
    /// The record is not in the log and will not be: there is no room for it.
    NoRoom,
    /// Nobody knows whether it stands anywhere, or will.
    Unknown,
}

/// The store's answer.
#[derive(Clone, Debug, Default)]
pub struct ReadAnswer {
    /// The answer covers the log below this offset at least: the store's cursor, read before the rows.
    pub as_of: u64,
    /// One for each asked head.
    pub heads: Vec<Option<Head>>,
    /// One for each asked command.
    pub receipts: Vec<Option<(Receipt, Fingerprint)>>,
    /// One for each asked message; None: there is no message of that seq.
    pub targets: Vec<Option<Target>>,
}

/// What the store is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadRequest {
    /// Heads.
    pub heads: Vec<ConversationKey>,
    /// Receipts of commands.
    pub ids: Vec<IdKey>,
    /// Messages that are to be taken back.
    pub targets: Vec<(ConversationKey, u64)>,
}

/// What hooks say of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookVerdict {
    /// Go on.
    Continue,
    /// Go on with another content.
    Amended {
        /// The event's encoded body.
        body: Bytes,
        /// The part of it that is the content.
        content: Bytes,
        /// Who is mentioned, each once.
        mentions: Vec<String>,
        /// Whether everybody is.
        mention_all: bool,
    },
    /// Refuse it.
    Stop(Refusal),
}

/// What an owner wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Read the store's cursor for the partition.
    ReadCursor {
        /// Belongs into the answer.
        fold: u64,
    },
    /// Read the log from an offset up to its durable end, in pages.
    ReadLog {
        /// Belongs into the answer.
        fold: u64,
        /// The first offset.
        from: u64,
    },
    /// Say so after a pause that is jittered and grows with the attempt.
    BackOff {
        /// Belongs into the answer.
        fold: u64,
        /// From 1.
        attempt: u32,
    },
    /// Say when the next group may be made.
    AwaitTurn,
    /// Append a record and report where it stands.
    Append {
        /// Belongs into the answer.
        append: u64,
        /// The record.
        record: Bytes,
        /// Its events; 0: a takeover, or a proof that nobody else has taken over.
        events: usize,
    },
    /// Read the store: the cursor first, then the rows.
    Read {
        /// Belongs into the answer.
        read: u64,
        /// What.
        request: ReadRequest,
    },
    /// Ask the session; from the second attempt on after a short pause, because its last answer was too old.
    Authorise {
        /// Belongs into the answer.
        ask: u64,
        /// From 1.
        attempt: u32,
        /// Conversations and users.
        items: Vec<(ConversationKey, Arc<str>)>,
    },
    /// Ask the PreSend hooks.
    AskHooks {
        /// Belongs into the answer.
        hook: u64,
        /// The draft.
        command: Box<Command>,
    },
    /// Answer a command.
    Reply {
        /// Where it came from.
        origin: Origin,
        /// Its place, or why it has none.
        result: Result<Placement, Refusal>,
    },
    /// End the stream: its order can no longer be kept.
    EndStream(u64),
    /// The partition is owned from here on.
    Owned,
    /// It is not any more.
    Lost,
    /// A record has no effect.
    Skipped(SkipReason),
    /// The log is wrong: stop everything, for the next append could make it worse.
    Halt(String),
}

/// Whether the next group may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There was none to make.
    NotAsked,
    /// Not yet.
    Asked,
    /// It may.
    Came,
}

/// The owner of one partition.
#[derive(Debug)]
pub struct Owner {
    config: OwnerConfig,
    /// What nonces are made from.
    seed: u64,
    /// Of the last output that wants an answer.
    last_request: u64,
    /// max(clock, time of the last record): time never runs backwards in a partition. Unix milliseconds.
    now_ms: i64,
    phase: Phase,
    /// The fold of the log. Changes only in `apply`.
    log: LogState,
    /// What the fold's records say. Changes only with `log`, and by the store's answers.
    memory: Memory,
    lag: StoreLag,
    lanes: Lanes,
    lines: Lines,
    /// Lines whose first command can be decided.
    ready: VecDeque<u64>,
    /// Of lines that have ended.
    memberships: Generations<LineKey, Membership, RandomState>,
    flight: Option<Flight>,
    turn: Turn,
    wants: Wants,
    /// Lines that wait for a head.
    head_waits: HashMap<ConversationKey, Vec<u64>>,
    reading: Option<(u64, ReadBatch)>,
    asks: BTreeMap<u64, Ask>,
    /// Hooks asked, by number: line and arrival.
    hooks: BTreeMap<u64, (u64, u64)>,
    has_room: bool,
    out: Vec<Output>,
}

impl Owner {
    /// Owns nothing yet. `seed` is random: no two owners may have the same.
    pub fn new(config: OwnerConfig, seed: u64) -> Self {
        Self {
            memory: Memory::new(config.memory, 0, 0, seed),
            lanes: Lanes::new(config.max_broken_lanes),
            memberships: Generations::new(config.memberships, 10_000, RandomState::new()),
            config,
            seed,
            last_request: 0,
            now_ms: 0,
            phase: Phase::Unassigned,
            log: LogState::default(),
            lag: StoreLag::default(),
            lines: Lines::default(),
            ready: VecDeque::new(),
            flight: None,
            turn: Turn::NotAsked,
            wants: Wants::default(),
            head_waits: HashMap::new(),
            reading: None,
            asks: BTreeMap::new(),
            hooks: BTreeMap::new(),
            has_room: true,
            out: Vec::new(),
        }
    }

    /// Takes one input at a time of the wall clock, in Unix milliseconds, and gives what is to be done, in order.
    pub fn step(&mut self, clock_ms: i64, input: Input) -> Vec<Output> {
        self.now_ms = clock_ms.max(self.log.time_ms);
        match input {
            Input::Assigned => self.assigned(),
            Input::Revoked => self.revoked(),
            Input::CursorRead { fold, cursor } => self.cursor_read(fold, cursor),
            Input::LogRead {
                fold,
                records,
                at_end,
            } => self.log_read(fold, records, at_end),
            Input::FoldFailed { fold } => self.fold_failed(fold),
            Input::BackedOff { fold } => self.backed_off(fold),
            Input::Appended { append, report } => self.appended(append, report),
            Input::TurnCame => self.turn = Turn::Came,
            Input::Commands(commands) => self.admit(commands),
            Input::ReadAnswered { read, answer } => self.read_answered(read, answer),
            Input::Authorised { ask, answers } => self.authorised(ask, answers),
            Input::HooksAnswered { hook, verdict } => self.hooks_answered(hook, verdict),
            Input::CursorMoved(cursor) => self.lag.shrink(cursor.next_offset),
            Input::Room(has_room) => self.has_room = has_room,
            Input::StreamEnded(stream) => self.lanes.forget(stream),
        }
        self.gather();
        self.ask();
        std::mem::take(&mut self.out)
    }

    /// Whether it may append groups.
    pub fn is_owning(&self) -> bool {
        matches!(self.phase, Phase::Owning { .. })
    }

    /// Commands in hand, decided and waiting.
    pub fn pending(&self) -> usize {
        self.lines.commands()
    }

    /// Events that the log has and the store has not, as far as the owner knows.
    pub fn store_lag_events(&self) -> usize {
        self.lag.events()
    }

    /// The fold of the log, up to where the owner knows it.
    pub fn log_state(&self) -> LogState {
        self.log
    }

    fn request(&mut self) -> u64 {
        self.last_request += 1;
        self.last_request
    }
}
