//! Conversations, and the owners who write them into the log.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flare_proto::message::{ConversationClass, EventHeader, EventKind};
use flare_storage_model::{
    ConversationKey, LogRecord, LoggedEvent, fingerprint, flags, partition_of,
    record::{self, Epoch},
};
use ulid::Ulid;

use crate::log::SharedLog;

pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Writes to all partitions, as their owners would.
pub(crate) struct Talk {
    log: Arc<SharedLog>,
    partitions: u32,
    epochs: BTreeMap<u32, (Epoch, u64)>,
    seqs: BTreeMap<ConversationKey, u64>,
    now_ms: i64,
    nonce: u64,
}

impl Talk {
    pub(crate) fn new(log: &Arc<SharedLog>, partitions: u32) -> Self {
        let mut talk = Self {
            log: Arc::clone(log),
            partitions,
            epochs: BTreeMap::new(),
            seqs: BTreeMap::new(),
            now_ms: START_MS,
            nonce: 0,
        };
        (0..partitions).for_each(|it| talk.take_over(it));
        talk
    }

    /// A new owner.
    pub(crate) fn take_over(&mut self, partition: u32) {
        self.nonce += 1;
        let number = self
            .epochs
            .get(&partition)
            .map_or(1, |(epoch, _)| epoch.number + 1);
        let epoch = Epoch {
            number,
            nonce: self.nonce,
        };
        self.epochs.insert(partition, (epoch, 0));
        let owner = "test".to_owned();
        self.append(partition, &LogRecord::Takeover { epoch, owner });
    }

    /// The conversation's next events, a group of its partition; where it is.
    pub(crate) fn say(&mut self, conversation: &str, count: u64) -> Said {
        let key = ConversationKey::new("default", conversation);
        self.now_ms += 1;
        let seq = self.seqs.entry(key.clone()).or_default();
        let first = *seq + 1;
        *seq += count;
        let now_ms = self.now_ms;
        let events: Vec<_> = (first..first + count)
            .map(|seq| event(conversation, seq, now_ms))
            .collect();
        let partition = partition_of(&key, self.partitions);
        let (epoch, n) = self.epochs.get_mut(&partition).unwrap();
        let group = LogRecord::Group {
            epoch: *epoch,
            n: *n,
            events: events.clone(),
        };
        *n += 1;
        let offset = self.append(partition, &group);
        Said {
            partition,
            offset,
            events,
        }
    }

    /// Something that an owner who is none any more decided long ago, and that lands now.
    pub(crate) fn land_late(&mut self, partition: u32, decided_ms: i64) {
        let events = vec![event("late", 1, decided_ms)];
        let epoch = Epoch {
            number: 1,
            nonce: u64::MAX,
        };
        self.append(
            partition,
            &LogRecord::Group {
                epoch,
                n: 0,
                events,
            },
        );
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    /// How many events each conversation has.
    pub(crate) fn seqs(&self) -> &BTreeMap<ConversationKey, u64> {
        &self.seqs
    }

    /// A conversation of this partition.
    pub(crate) fn conversation_of(&self, partition: u32) -> String {
        let mut names = (0..).map(|it| format!("of_{partition}_{it}"));
        names
            .find(|it| {
                partition_of(
                    &ConversationKey::new("default", it.as_str()),
                    self.partitions,
                ) == partition
            })
            .unwrap()
    }

    fn append(&self, partition: u32, record: &LogRecord) -> u64 {
        let bytes: Bytes = record::encode(record).unwrap();
        self.log.append(partition, bytes)
    }
}

/// A group that was appended.
pub(crate) struct Said {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) events: Vec<LoggedEvent>,
}

fn event(conversation: &str, seq: u64, now_ms: i64) -> LoggedEvent {
    // Of each conversation its own.
    let random = conversation
        .bytes()
        .fold(0_u128, |it, byte| (it * 257 + u128::from(byte)) % (1 << 60));
    let id = Ulid::from_parts(now_ms.cast_unsigned(), (random << 16) | u128::from(seq));
    let header = EventHeader {
        tenant_id: "default".to_owned(),
        conversation_id: conversation.to_owned(),
        seq,
        ordinal: seq,
        message_id: id.to_string(),
        sender_id: "alice".to_owned(),
        time_ms: now_ms,
        kind: EventKind::MessageCreated.into(),
        flags: flags::COUNTABLE,
        class: ConversationClass::Group.into(),
        client_id: format!("c{seq}"),
        ..EventHeader::default()
    };
    let body = Bytes::from(format!("{conversation} {seq}"));
    LoggedEvent::create(header, body, fingerprint(conversation, b"x")).unwrap()
}
