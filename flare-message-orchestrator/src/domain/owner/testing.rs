//! A world for an owner: a log, a store and a session that do what a test says.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_storage_model::{
    Applied, Epoch, LogRecord, LoggedEvent, apply, direct_conversation_id, fingerprint, record,
};

use super::*;

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

pub(crate) fn config() -> OwnerConfig {
    OwnerConfig {
        name: "owner".to_owned(),
        memory: MemoryLimits {
            heads: 1_000,
            ids: 1_000,
            messages: 1_000,
            part_entries: 100,
        },
        memberships: 1_000,
        max_pending_commands: 5_000,
        max_pending_bytes: 16 << 20,
        max_broken_lanes: 100,
        max_store_lag_events: 200_000,
        max_store_lag: Duration::from_secs(600),
        recall_window: Duration::from_secs(120),
        max_authorise_attempts: 3,
        hooks: false,
        log_is_shared: false,
        waits_for_turns: false,
    }
}

pub(crate) fn user(id: &str) -> Actor {
    Actor {
        kind: ActorKind::User,
        user: id.into(),
        device: "phone".into(),
    }
}

pub(crate) fn key(conversation: &str) -> ConversationKey {
    ConversationKey::new("default", conversation)
}

/// A direct message, to the other user by his id.
pub(crate) fn send(sender: &str, peer: &str, client_id: &str) -> Command {
    let mut both: [Arc<str>; 2] = [sender.into(), peer.into()];
    both.sort();
    let place = direct_conversation_id("default", sender, peer);
    Command {
        participants: Some(both),
        ..say(sender, &place, client_id)
    }
}

/// A message to a conversation by its id.
pub(crate) fn say(sender: &str, conversation: &str, client_id: &str) -> Command {
    let body = Bytes::from(format!("\u{a}{}", client_id));
    Command {
        origin: Origin::default(),
        conversation: key(conversation),
        participants: None,
        actor: user(sender),
        client_id: client_id.into(),
        trace_id: Bytes::new(),
        fingerprint: fingerprint(conversation, &body),
        action: Action::Send {
            content: body.clone(),
            mentions: Vec::new(),
            mention_all: false,
        },
        body,
        refused: None,
    }
}

pub(crate) fn recall(sender: &str, conversation: &str, seq: u64, client_id: &str) -> Command {
    Command {
        action: Action::Recall { seq },
        body: Bytes::new(),
        ..say(sender, conversation, client_id)
    }
}

pub(crate) fn change(conversation: &str, kind: EventKind, client_id: &str) -> Command {
    Command {
        actor: Actor {
            kind: ActorKind::Service,
            user: "alice".into(),
            device: "".into(),
        },
        action: Action::Change {
            kind,
            class: ConversationClass::Group,
        },
        ..say("alice", conversation, &format!("flare:{client_id}"))
    }
}

pub(crate) fn member(standing: Standing, as_of: u64) -> Membership {
    Membership {
        standing,
        disbanded: false,
        as_of,
    }
}

/// An event that somebody else has placed: a member event at `seq`.
pub(crate) fn event_of(command: &Command, seq: u64) -> LoggedEvent {
    let header = EventHeader {
        tenant_id: command.conversation.tenant.to_string(),
        conversation_id: command.conversation.conversation.to_string(),
        seq,
        message_id: ulid::Ulid::from_parts(1, u128::from(seq)).to_string(),
        sender_id: command.actor.user.to_string(),
        time_ms: NOW_MS,
        kind: EventKind::MemberRemoved.into(),
        flags: flare_storage_model::flags::MEMBERSHIP,
        class: ConversationClass::Group.into(),
        client_id: command.client_id.to_string(),
        ..EventHeader::default()
    };
    LoggedEvent::create(header, command.body.clone(), command.fingerprint).expect("an event")
}

pub(crate) type Answered = (u64, Result<Placement, Refusal>);

/// What outputs a test keeps back.
pub(crate) type Held = fn(&Output) -> bool;

pub(crate) struct World {
    pub(crate) owner: Owner,
    pub(crate) clock_ms: i64,
    pub(crate) log: Vec<Bytes>,
    pub(crate) store: Store,
    pub(crate) members: HashMap<(ConversationKey, Arc<str>), Membership>,
    pub(crate) answered: Vec<Answered>,
    /// Outputs that were done, and those kept back.
    pub(crate) seen: Vec<Output>,
    pub(crate) held: Vec<Output>,
    pub(crate) hold: Held,
    correlation: u64,
}

/// The rows that a store has of the log up to its cursor.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) cursor: LogState,
    pub(crate) heads: HashMap<ConversationKey, Head>,
    pub(crate) ids: HashMap<IdKey, (Receipt, Fingerprint)>,
    pub(crate) targets: HashMap<(ConversationKey, u64), Target>,
    pub(crate) fails: bool,
}

impl Store {
    pub(crate) fn commit(&mut self, log: &[Bytes], end: usize) {
        for offset in self.cursor.next_offset..end as u64 {
            let record = record::decode(log[offset as usize].clone()).expect("a record");
            if let Applied::Group(events) = apply(&mut self.cursor, offset, &record) {
                events.iter().for_each(|it| {
                    Self::row(&mut self.heads, &mut self.ids, &mut self.targets, it)
                });
            }
        }
    }

    fn row(
        heads: &mut HashMap<ConversationKey, Head>,
        ids: &mut HashMap<IdKey, (Receipt, Fingerprint)>,
        targets: &mut HashMap<(ConversationKey, u64), Target>,
        event: &LoggedEvent,
    ) {
        let (header, key) = (event.header(), event.key().clone());
        heads
            .entry(key.clone())
            .or_default()
            .apply(header)
            .expect("the next event");
        ids.insert(
            event.id_key().expect("an id"),
            (event.receipt(), event.fingerprint()),
        );
        if event.is_message() {
            let sender = header.sender_id.as_str().into();
            let target = Target {
                sender,
                time_ms: header.time_ms,
                recalled: false,
            };
            targets.insert((key.clone(), header.seq), target);
        }
        if let Some(target) = event.recalls().and_then(|seq| targets.get_mut(&(key, seq))) {
            target.recalled = true;
        }
    }

    pub(crate) fn answer(&self, request: &ReadRequest) -> ReadAnswer {
        ReadAnswer {
            as_of: self.cursor.next_offset,
            heads: request
                .heads
                .iter()
                .map(|it| self.heads.get(it).cloned())
                .collect(),
            receipts: request
                .ids
                .iter()
                .map(|it| self.ids.get(it).copied())
                .collect(),
            targets: request
                .targets
                .iter()
                .map(|it| self.targets.get(it).cloned())
                .collect(),
        }
    }
}

impl World {
    /// Nothing is assigned yet.
    pub(crate) fn new(config: OwnerConfig) -> Self {
        Self {
            owner: Owner::new(config, 7),
            clock_ms: NOW_MS,
            log: Vec::new(),
            store: Store::default(),
            members: HashMap::new(),
            answered: Vec::new(),
            seen: Vec::new(),
            held: Vec::new(),
            hold: |_| false,
            correlation: 0,
        }
    }

    /// The partition is owned.
    pub(crate) fn owning() -> Self {
        Self::owning_with(config())
    }

    pub(crate) fn owning_with(config: OwnerConfig) -> Self {
        let mut world = Self::new(config);
        world.step(Input::Assigned);
        assert!(world.owner.is_owning());
        world
    }

    /// A group "general" with an owner, an admin and two members, at seq 1.
    pub(crate) fn with_group() -> Self {
        let mut world = Self::owning();
        world.create_group();
        world
    }

    pub(crate) fn create_group(&mut self) {
        for (user, role) in [
            ("olga", Role::Owner),
            ("adam", Role::Admin),
            ("alice", Role::Member),
            ("bob", Role::Member),
        ] {
            self.join(user, Standing::Active(role), 1);
        }
        let created = change("general", EventKind::ConversationCreated, "created");
        assert_eq!(self.place(created).seq, 1);
    }

    pub(crate) fn join(&mut self, user: &str, standing: Standing, as_of: u64) {
        self.members
            .insert((key("general"), user.into()), member(standing, as_of));
    }

    /// Gives the owner an input and does what it says, but for what is held.
    pub(crate) fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.owner.step(self.clock_ms, input) {
                if (self.hold)(&output) {
                    self.held.push(output);
                } else {
                    inputs.extend(self.perform(output));
                }
            }
        }
    }

    /// Does what was held, as far as it is not held any more.
    pub(crate) fn release(&mut self) {
        self.hold = |_| false;
        for output in std::mem::take(&mut self.held) {
            if let Some(input) = self.perform(output) {
                self.step(input);
            }
        }
    }

    pub(crate) fn perform(&mut self, output: Output) -> Option<Input> {
        self.seen.push(output.clone());
        match output {
            Output::ReadCursor { fold } => Some(Input::CursorRead {
                fold,
                cursor: self.store.cursor,
            }),
            Output::ReadLog { fold, from } => {
                let records = (from..)
                    .zip(self.log[from as usize..].iter().take(3).cloned())
                    .collect::<Vec<_>>();
                let at_end = from as usize + records.len() == self.log.len();
                Some(Input::LogRead {
                    fold,
                    records,
                    at_end,
                })
            }
            Output::BackOff { fold, .. } => Some(Input::BackedOff { fold }),
            Output::AwaitTurn => Some(Input::TurnCame),
            Output::Append { append, record, .. } => {
                self.log.push(record);
                Some(Input::Appended {
                    append,
                    report: AppendReport::At(self.log.len() as u64 - 1),
                })
            }
            Output::Read { read, request } => {
                let answer = (!self.store.fails).then(|| self.store.answer(&request));
                Some(Input::ReadAnswered { read, answer })
            }
            Output::Authorise { ask, items, .. } => {
                let nobody = member(Standing::NoConversation, 0);
                let answers = items
                    .into_iter()
                    .map(|it| self.members.get(&it).copied().unwrap_or(nobody))
                    .collect();
                Some(Input::Authorised {
                    ask,
                    answers: Some(answers),
                })
            }
            Output::AskHooks { hook, .. } => Some(Input::HooksAnswered {
                hook,
                verdict: HookVerdict::Continue,
            }),
            Output::Reply { origin, result } => {
                self.answered.push((origin.correlation, result));
                None
            }
            _ => None,
        }
    }

    /// Hands commands over in one batch; their correlations count on.
    pub(crate) fn submit(&mut self, commands: impl IntoIterator<Item = Command>) {
        let commands = commands
            .into_iter()
            .map(|mut it| {
                self.correlation += 1;
                it.origin.correlation = self.correlation;
                it
            })
            .collect();
        self.step(Input::Commands(commands));
    }

    /// The answer to one command.
    pub(crate) fn answer(&mut self, command: Command) -> Result<Placement, Refusal> {
        self.submit([command]);
        let (correlation, result) = self.answered.last().cloned().expect("an answer");
        assert_eq!(correlation, self.correlation, "it has no answer yet");
        result
    }

    pub(crate) fn place(&mut self, command: Command) -> Receipt {
        let placement = self.answer(command).expect("placed");
        assert!(!placement.duplicate);
        placement.receipt
    }

    pub(crate) fn refusal(&mut self, command: Command) -> Refusal {
        self.answer(command).expect_err("refused")
    }

    pub(crate) fn code(&mut self, command: Command) -> ErrorCode {
        self.refusal(command).code
    }

    pub(crate) fn store_all(&mut self) {
        self.store.commit(&self.log, self.log.len());
        self.step(Input::CursorMoved(self.store.cursor));
    }

    /// All events of the log that count.
    pub(crate) fn events(&self) -> Vec<LoggedEvent> {
        let mut state = LogState::default();
        let mut events = Vec::new();
        for (offset, bytes) in (0..).zip(&self.log) {
            let record = record::decode(bytes.clone()).expect("a record");
            if let Applied::Group(group) = apply(&mut state, offset, &record) {
                events.extend_from_slice(group);
            }
        }
        events
    }

    /// Somebody else takes the log over.
    pub(crate) fn foreign_takeover(&mut self, number: u64) {
        let epoch = Epoch { number, nonce: 99 };
        let marker = LogRecord::Takeover {
            epoch,
            owner: "other".to_owned(),
        };
        self.log.push(record::encode(&marker).expect("a record"));
    }

    pub(crate) fn count(&self, what: impl Fn(&Output) -> bool) -> usize {
        self.seen.iter().filter(|it| what(it)).count()
    }
}

pub(crate) use flare_proto::message::{ConversationClass, EventHeader, EventKind};
