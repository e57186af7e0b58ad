//! A conversation log in memory: it places what is submitted, reads what was placed, and fails when told to.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::ErrorCode,
    message::{ConversationClass, Event, EventHeader, EventKind},
};
use flare_server_core::error::Refusal;
use flare_session::{
    application::ports::{
        MessageOrchestrator, OutboxLine, Placed, StorageReader, StoredHead, StoredHeads,
        SubmitError,
    },
    domain::{
        caller::UserKey,
        change::Change,
        head::{Head, LastMessage},
    },
};
use flare_storage_model::{ConversationKey, direct_conversation_id, flags};
use prost::Message;
use tokio::sync::Notify;

pub(crate) const TENANT: &str = "default";

/// What becomes of the next submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Refused for good.
    Refuse,
    /// The outcome is unknown, and nothing landed.
    LostBefore,
    /// The outcome is unknown, and the line landed.
    LostAfter,
}

#[derive(Default)]
pub(crate) struct FakeLog {
    state: Mutex<State>,
    /// While set, submissions wait here before they are placed.
    pub(crate) held: Mutex<Option<Arc<Notify>>>,
    pub(crate) submitting: Notify,
    /// While set, heads are not answered before it is notified.
    pub(crate) reader_held: Mutex<Option<Arc<Notify>>>,
    /// Told when heads are asked for that are held.
    pub(crate) reading: Notify,
}

#[derive(Default)]
struct State {
    events: Vec<EventHeader>,
    by_line: HashMap<String, Placed>,
    /// Lines that were refused: they are, for good.
    refused: HashSet<String>,
    changes: HashMap<ConversationKey, Vec<(u64, Change)>>,
    faults: VecDeque<Fault>,
    down: bool,
    reader_down: bool,
    submissions: usize,
    reads: usize,
}

impl FakeLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub(crate) fn fail_next(&self, faults: &[Fault]) {
        self.state().faults.extend(faults);
    }

    /// Until it is up again, nothing lands.
    pub(crate) fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Until it is up again, heads are not read.
    pub(crate) fn set_reader_down(&self, down: bool) {
        self.state().reader_down = down;
    }

    pub(crate) fn submissions(&self) -> usize {
        self.state().submissions
    }

    pub(crate) fn reads(&self) -> usize {
        self.state().reads
    }

    pub(crate) fn events(&self) -> Vec<EventHeader> {
        self.state().events.clone()
    }

    pub(crate) fn events_of(&self, conversation: &str) -> Vec<EventHeader> {
        self.state()
            .events
            .iter()
            .filter(|it| it.conversation_id == conversation)
            .cloned()
            .collect()
    }

    /// What the lines say that landed, by conversation and seq.
    pub(crate) fn changes(&self) -> HashMap<ConversationKey, Vec<(u64, Change)>> {
        self.state().changes.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.state().events.len()
    }

    pub(crate) fn say(&self, conversation: &str, sender: &str) -> u64 {
        self.message(conversation, sender, &[], false)
    }

    pub(crate) fn message(
        &self,
        conversation: &str,
        sender: &str,
        mentions: &[&str],
        everybody: bool,
    ) -> u64 {
        let all = if everybody { flags::MENTION_ALL } else { 0 };
        let header = EventHeader {
            conversation_id: conversation.into(),
            sender_id: sender.into(),
            sender_device_id: "phone".into(),
            kind: EventKind::MessageCreated.into(),
            flags: flags::COUNTABLE | all,
            class: ConversationClass::Group.into(),
            mentions: mentions.iter().map(ToString::to_string).collect(),
            ..EventHeader::default()
        };
        self.state().place(header).seq
    }

    pub(crate) fn say_by_api(&self, conversation: &str, sender: &str) -> u64 {
        let header = EventHeader {
            conversation_id: conversation.into(),
            sender_id: sender.into(),
            kind: EventKind::MessageCreated.into(),
            flags: flags::COUNTABLE | flags::VIA_API,
            class: ConversationClass::Group.into(),
            ..EventHeader::default()
        };
        self.state().place(header).seq
    }

    pub(crate) fn say_directly(&self, sender: &str, other: &str) -> String {
        let mut participants = vec![sender.to_owned(), other.to_owned()];
        participants.sort();
        let id = direct_conversation_id(TENANT, sender, other);
        let header = EventHeader {
            conversation_id: id.clone(),
            sender_id: sender.into(),
            sender_device_id: "phone".into(),
            kind: EventKind::MessageCreated.into(),
            flags: flags::COUNTABLE,
            class: ConversationClass::Direct.into(),
            participants,
            ..EventHeader::default()
        };
        self.state().place(header);
        id
    }

    pub(crate) fn recall(&self, conversation: &str, target: u64) -> u64 {
        let like = self
            .events_of(conversation)
            .into_iter()
            .next()
            .expect("the conversation has events");
        let header = EventHeader {
            conversation_id: conversation.into(),
            sender_id: "olga".into(),
            sender_device_id: "phone".into(),
            kind: EventKind::MessageRecalled.into(),
            class: like.class,
            participants: like.participants,
            target_seq: target,
            ..EventHeader::default()
        };
        self.state().place(header).seq
    }
}

impl State {
    fn place(&mut self, mut header: EventHeader) -> Placed {
        let last = self
            .events
            .iter()
            .rfind(|it| it.conversation_id == header.conversation_id);
        header.tenant_id = TENANT.into();
        header.seq = last.map_or(0, |it| it.seq) + 1;
        header.ordinal =
            last.map_or(0, |it| it.ordinal) + u64::from(header.flags & flags::COUNTABLE);
        header.time_ms = 1_000_000 + i64::try_from(self.events.len()).expect("small");
        header.message_id = format!("{:026}", self.events.len());
        let placed = Placed {
            seq: header.seq,
            ordinal: header.ordinal,
            time_ms: header.time_ms,
        };
        self.events.push(header);
        placed
    }

    fn land(&mut self, line: &OutboxLine) -> Placed {
        if let Some(placed) = self.by_line.get(&line.line) {
            return *placed;
        }
        let (kind, bits) = match line.change {
            Change::Renamed { .. } => (EventKind::ConversationRenamed, 0),
            Change::Created { .. } => (EventKind::ConversationCreated, flags::MEMBERSHIP),
            Change::MembersAdded { .. } => (EventKind::MembersAdded, flags::MEMBERSHIP),
            Change::MemberRemoved { .. } => (EventKind::MemberRemoved, flags::MEMBERSHIP),
            Change::MemberLeft { .. } => (EventKind::MemberLeft, flags::MEMBERSHIP),
            Change::RoleChanged { .. } => (EventKind::RoleChanged, flags::MEMBERSHIP),
            Change::OwnershipTransferred { .. } => {
                (EventKind::OwnershipTransferred, flags::MEMBERSHIP)
            }
            Change::Disbanded => (EventKind::ConversationDisbanded, flags::MEMBERSHIP),
        };
        let placed = self.place(EventHeader {
            conversation_id: line.key.conversation.to_string(),
            sender_id: line.sender.to_string(),
            kind: kind.into(),
            flags: bits,
            class: ConversationClass::Group.into(),
            client_id: format!("flare:{}", line.line),
            trace_id: line
                .trace_id
                .map(|it| Bytes::copy_from_slice(it.as_bytes()))
                .unwrap_or_default(),
            ..EventHeader::default()
        });
        self.by_line.insert(line.line.clone(), placed);
        let changes = self.changes.entry(line.key.clone()).or_default();
        changes.push((placed.seq, line.change.clone()));
        placed
    }
}

pub(crate) fn encode(header: &EventHeader) -> Bytes {
    let body = Bytes::from(format!("body of {}/{}", header.conversation_id, header.seq));
    Event {
        header: Some(header.clone()),
        body,
    }
    .encode_to_vec()
    .into()
}

fn refused() -> SubmitError {
    SubmitError::Refused(Refusal::new(ErrorCode::StoppedByHook, "a hook said no"))
}

fn unknown() -> SubmitError {
    SubmitError::Unknown(Refusal::unavailable(
        "lost on the way",
        Duration::from_millis(10),
    ))
}

#[async_trait]
impl MessageOrchestrator for FakeLog {
    async fn submit(&self, line: &OutboxLine) -> Result<Placed, SubmitError> {
        self.submitting.notify_one();
        let held = self.held.lock().expect("not poisoned").clone();
        if let Some(held) = held {
            held.notified().await;
        }
        let mut state = self.state();
        state.submissions += 1;
        if state.down {
            return Err(unknown());
        }
        if state.refused.contains(&line.line) {
            return Err(refused());
        }
        match state.faults.pop_front() {
            None => Ok(state.land(line)),
            // One that is there is found before anybody judges it.
            Some(Fault::Refuse) if !state.by_line.contains_key(&line.line) => {
                state.refused.insert(line.line.clone());
                Err(refused())
            }
            Some(Fault::Refuse) => Ok(state.land(line)),
            Some(Fault::LostBefore) => Err(unknown()),
            Some(Fault::LostAfter) => {
                state.land(line);
                Err(unknown())
            }
        }
    }
}

#[async_trait]
impl StorageReader for FakeLog {
    async fn heads(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
    ) -> Result<StoredHeads, Refusal> {
        let held = self.reader_held.lock().expect("not poisoned").clone();
        if let Some(held) = held {
            self.reading.notify_one();
            held.notified().await;
        }
        let mut state = self.state();
        state.reads += 1;
        if state.reader_down {
            return Err(Refusal::unavailable(
                "the reader is down",
                Duration::from_millis(10),
            ));
        }
        let mut heads = HashMap::new();
        for id in conversations {
            let events: Vec<_> = state
                .events
                .iter()
                .filter(|it| it.conversation_id == **id && it.tenant_id == tenant)
                .collect();
            // Folded by the storage's own rules, not by this service's.
            let mut folded = flare_storage_model::Head::default();
            for event in &events {
                folded.apply(event).expect("the fake log is well-formed");
            }
            if let Some(newest) = events.last() {
                heads.insert(
                    Arc::clone(id),
                    StoredHead {
                        participants: newest
                            .participants
                            .iter()
                            .map(|it| Arc::from(it.as_str()))
                            .collect(),
                        head: Head {
                            seq: folded.seq,
                            ordinal: folded.ordinal,
                            time_ms: folded.time_ms,
                            member_seq: folded.member_seq,
                            recalled: folded.recalled,
                            recalled_complete_from: folded.recalled_complete_from,
                            mention_all_seq: folded.mention_all_seq,
                            last_message: folded
                                .last_message
                                .and_then(|seq| events.iter().find(|it| it.seq == seq))
                                .map(|it| LastMessage {
                                    seq: it.seq,
                                    sender: it.sender_id.as_str().into(),
                                    from_device: !it.sender_device_id.is_empty(),
                                    encoded: Some(encode(it)),
                                }),
                        },
                    },
                );
            }
        }
        Ok(StoredHeads {
            answered: conversations.len(),
            heads,
        })
    }

    async fn head_seqs(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, u64>, Refusal> {
        let heads = self.heads(tenant, conversations).await?.heads;
        Ok(heads
            .into_iter()
            .map(|(id, it)| (id, it.head.seq))
            .collect())
    }

    async fn ordinal_at(
        &self,
        _: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Option<u64>, Refusal> {
        self.state().reads += 1;
        Ok(self
            .events_of(conversation)
            .into_iter()
            .find(|it| it.seq == seq)
            .map(|it| it.ordinal))
    }

    async fn last_message(
        &self,
        _: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Bytes, Refusal> {
        self.state().reads += 1;
        let events = self.events_of(conversation);
        let Some(last) = events
            .iter()
            .rfind(|it| it.seq <= seq && it.kind() == EventKind::MessageCreated)
        else {
            return Ok(Bytes::new());
        };
        if events.iter().any(|it| it.target_seq == last.seq) {
            let header = Some(last.clone());
            let body = Bytes::new();
            return Ok(Event { header, body }.encode_to_vec().into());
        }
        Ok(encode(last))
    }
}
