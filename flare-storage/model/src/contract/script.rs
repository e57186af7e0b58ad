//! Makes the log that a test commits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flare_proto::message::{ConversationClass, EventHeader, EventKind};
use ulid::Ulid;

use super::Outcome;
use crate::{
    apply::LogState,
    command_id::{IdKey, fingerprint},
    conversation_key::ConversationKey,
    head::Head,
    logged_event::{LoggedEvent, flags},
    message_store::StoreBatch,
    record::Epoch,
};

/// Counts scripts and events, so that no two tests on a store meet.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The time of a script's first event, Unix milliseconds.
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// The log of one tenant in one partition, as an owner would write it.
#[derive(Clone, Debug)]
pub struct Script {
    /// The tenant of all conversations.
    pub tenant: String,
    /// The partition of all batches.
    pub partition: u32,
    /// Where the log ends.
    pub cursor: LogState,
    /// Each event comes so long after the conversation's one before it.
    pub step_ms: i64,
    /// After all events.
    heads: HashMap<ConversationKey, Head>,
    /// After all events that are in batches.
    batched: HashMap<ConversationKey, Head>,
}

impl Script {
    /// An empty log of a tenant that no other script has.
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            tenant: format!("tenant-{number}"),
            partition: u32::try_from(number).unwrap_or(0),
            cursor: LogState {
                next_offset: 0,
                epoch: Epoch {
                    number: 1,
                    nonce: number,
                },
                n: 0,
                time_ms: START_MS - 1_000,
            },
            step_ms: 1_000,
            heads: HashMap::new(),
            batched: HashMap::new(),
        }
    }

    /// A conversation of the tenant.
    pub fn key(&self, conversation: &str) -> ConversationKey {
        ConversationKey::new(self.tenant.as_str(), conversation)
    }

    /// The conversation's head after all events so far.
    pub fn head(&self, conversation: &str) -> Head {
        self.heads
            .get(&self.key(conversation))
            .cloned()
            .unwrap_or_default()
    }

    /// The conversation's next event: a message.
    pub fn message(&mut self, conversation: &str, text: &str) -> Result<LoggedEvent, String> {
        self.event(
            conversation,
            EventKind::MessageCreated,
            flags::COUNTABLE,
            0,
            text,
        )
    }

    /// The conversation's next event: a recall.
    pub fn recall(&mut self, conversation: &str, target: u64) -> Result<LoggedEvent, String> {
        self.event(conversation, EventKind::MessageRecalled, 0, target, "")
    }

    /// The conversation's next event: it gets a title.
    pub fn rename(&mut self, conversation: &str) -> Result<LoggedEvent, String> {
        self.event(conversation, EventKind::ConversationRenamed, 0, 0, "title")
    }

    /// So many messages.
    pub fn messages(
        &mut self,
        conversation: &str,
        count: usize,
    ) -> Result<Vec<LoggedEvent>, String> {
        (0..count)
            .map(|index| self.message(conversation, &format!("message {index}")))
            .collect()
    }

    /// The next batch of the log: one group with these events. Events that do not follow get the conversation's last head.
    pub fn batch(&mut self, events: Vec<LoggedEvent>) -> Arc<StoreBatch> {
        let from = self.cursor;
        self.cursor.next_offset += 1;
        self.cursor.n += 1;
        let mut heads: HashMap<_, Head> = HashMap::new();
        for event in &events {
            self.cursor.time_ms = self.cursor.time_ms.max(event.header().time_ms);
            let head = self.batched.entry(event.key().clone()).or_default();
            if head.apply(event.header()).is_err()
                && let Some(last) = self.heads.get(event.key())
            {
                head.clone_from(last);
            }
            heads.insert(event.key().clone(), head.clone());
        }
        let heads = heads.into_iter().collect();
        Arc::new(StoreBatch {
            partition: self.partition,
            from,
            to: self.cursor,
            events,
            heads,
        })
    }

    fn event(
        &mut self,
        conversation: &str,
        kind: EventKind,
        bits: u32,
        target_seq: u64,
        body: &str,
    ) -> Result<LoggedEvent, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = self.key(conversation);
        let head = self.heads.entry(key).or_default();
        let time_ms = if head.seq == 0 {
            START_MS
        } else {
            head.time_ms + self.step_ms
        };
        let header = EventHeader {
            tenant_id: self.tenant.clone(),
            conversation_id: conversation.to_owned(),
            seq: head.seq + 1,
            ordinal: head.ordinal + u64::from(bits & flags::COUNTABLE),
            message_id: message_id(number).to_string(),
            sender_id: "alice".to_owned(),
            time_ms,
            kind: kind.into(),
            flags: bits,
            class: ConversationClass::Group.into(),
            client_id: format!("c-{number}"),
            target_seq,
            ..Default::default()
        };
        head.apply(&header).map_err(|error| error.to_string())?;
        let print = fingerprint(conversation, body.as_bytes());
        LoggedEvent::create(header, Bytes::copy_from_slice(body.as_bytes()), print)
            .map_err(|error| error.to_string())
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

/// The same event with something changed in its header.
pub(super) fn changed(
    event: &LoggedEvent,
    change: impl FnOnce(&mut EventHeader),
) -> Result<LoggedEvent, String> {
    let mut header = event.header().clone();
    change(&mut header);
    LoggedEvent::create(header, Bytes::from_static(b"changed"), event.fingerprint())
        .map_err(|error| error.to_string())
}

/// The id of the command that made the event.
pub(super) fn id_of(event: &LoggedEvent) -> IdKey {
    let header = event.header();
    IdKey::new(
        event.key().clone(),
        header.sender_id.as_str(),
        header.client_id.as_str(),
    )
}

/// A message id that no script has.
pub(super) fn new_message_id() -> Ulid {
    message_id(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn message_id(number: u64) -> Ulid {
    Ulid::from_parts(1_700_000_000_000, u128::from(number))
}

/// Fails unless both are equal.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, ought: T) -> Outcome {
    if is == ought {
        return Ok(());
    }
    let short = |it: T| format!("{it:?}").chars().take(400).collect::<String>();
    Err(format!(
        "{what}: is {}, ought to be {}",
        short(is),
        short(ought)
    ))
}

/// Fails with `what` unless it holds.
pub(super) fn holds(what: &str, it: bool) -> Outcome {
    if it { Ok(()) } else { Err(what.to_owned()) }
}

/// The store's answer, or its error as the outcome.
pub(super) fn answer<T>(it: Result<T, crate::message_store::StoreError>) -> Result<T, String> {
    it.map_err(|error| format!("the store refused: {error}"))
}
