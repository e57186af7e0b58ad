//! What an owner knows of its partition: everything that the log says from a floor on, and what it has read from the store below it.
//!
//! The invariant: each table is complete for records in `floor..applied`. So a store's answer is right for a key that the table does not
//! have, iff the answer covers the log up to the floor at least.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use flare_proto::message::{ConversationClass, EventHeader};
use flare_storage_model::{ConversationKey, Fingerprint, Head, LoggedEvent, Receipt, flags};

use super::generations::Generations;

/// How many entries each table holds before it forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Conversations' heads.
    pub heads: usize,
    /// Commands' ids with their receipts.
    pub ids: usize,
    /// Recent messages' senders.
    pub messages: usize,
    /// Entries of one part of a table, which is forgotten as a whole: few enough that filling it stalls nobody.
    pub part_entries: usize,
}

/// The digest of an `IdKey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdDigest(u128);

impl From<[u8; 16]> for IdDigest {
    fn from(digest: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(digest))
    }
}

/// How far a command's id was looked for in memory: in everything before this. The default: in nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdsSeen(u64);

/// A conversation as the owner needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnerHead {
    /// The newest event; 0: the conversation does not exist.
    pub(crate) seq: u64,
    pub(crate) ordinal: u64,
    pub(crate) time_ms: i64,
    pub(crate) class: ConversationClass,
    /// Direct only: both users, sorted.
    pub(crate) participants: Option<Arc<[String]>>,
    /// The last event that changed who may do what; 0: none. None: it lies below the log that was folded; only the store knows it.
    pub(crate) member_seq: Option<u64>,
}

impl OwnerHead {
    fn stored(head: Option<Head>) -> Self {
        let Some(head) = head else {
            return Self {
                member_seq: Some(0),
                ..Self::default()
            };
        };
        Self {
            seq: head.seq,
            ordinal: head.ordinal,
            time_ms: head.time_ms,
            class: head.class,
            participants: (!head.participants.is_empty()).then(|| head.participants.into()),
            member_seq: Some(head.member_seq),
        }
    }

    /// Moves on to an event.
    pub(crate) fn follow(&mut self, event: &EventHeader) {
        self.seq = event.seq;
        self.ordinal = event.ordinal;
        self.time_ms = event.time_ms;
        self.class = event.class();
        if self.participants.as_deref().unwrap_or_default() != event.participants {
            self.participants =
                (!event.participants.is_empty()).then(|| event.participants.clone().into());
        }
        if event.flags & flags::MEMBERSHIP != 0 {
            self.member_seq = Some(event.seq);
        }
    }
}

/// A message that may be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who sent it; empty: the system.
    pub sender: Arc<str>,
    /// When. Unix milliseconds.
    pub time_ms: i64,
    /// Whether it was taken back already.
    pub recalled: bool,
}

/// An event that cannot follow from what is known: the log is wrong, and the partition must stop.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {message_id} has seq {seq}, the head of {conversation} is at {head}")]
pub struct BrokenLog {
    /// The event's id.
    pub message_id: String,
    /// Tenant and conversation.
    pub conversation: ConversationKey,
    /// The event's number.
    pub seq: u64,
    /// The number before it, as far as it is known.
    pub head: u64,
}

/// The keys that commands in hand name: eviction leaves them alone.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) heads: Vec<ConversationKey>,
    pub(crate) ids: Vec<IdDigest>,
    pub(crate) messages: Vec<(ConversationKey, u64)>,
}

#[derive(Debug)]
pub(crate) struct Memory {
    heads: Generations<ConversationKey, OwnerHead, RandomState>,
    ids: Generations<IdDigest, (Receipt, Fingerprint), DigestHasher>,
    messages: Generations<(ConversationKey, u64), Target, RandomState>,
    heads_floor: u64,
    ids_floor: u64,
    messages_floor: u64,
    /// Every id that was placed after this time is in `ids`. Unix milliseconds.
    horizon_ms: i64,
}

impl Memory {
    /// Knows nothing below `floor`, where the store's fold stood at `time_ms`.
    pub(crate) fn new(limits: MemoryLimits, floor: u64, time_ms: i64, seed: u64) -> Self {
        Self {
            heads: Generations::new(limits.heads, limits.part_entries, RandomState::new()),
            ids: Generations::new(limits.ids, limits.part_entries, DigestHasher::new(seed)),
            messages: Generations::new(limits.messages, limits.part_entries, RandomState::new()),
            heads_floor: floor,
            ids_floor: floor,
            messages_floor: floor,
            horizon_ms: time_ms,
        }
    }

    pub(crate) fn horizon_ms(&self) -> i64 {
        self.horizon_ms
    }

    /// The head, if all of it is known.
    pub(crate) fn head(&self, key: &ConversationKey) -> Option<&OwnerHead> {
        self.heads.get(key).filter(|it| it.member_seq.is_some())
    }

    /// The receipt of a command that was not known `since`.
    pub(crate) fn id(&self, id: IdDigest, since: IdsSeen) -> Option<&(Receipt, Fingerprint)> {
        self.ids.get_since(&id, since.0)
    }

    /// Up to here, everything was looked through.
    pub(crate) fn ids_seen(&self) -> IdsSeen {
        IdsSeen(self.ids.newest_part())
    }

    pub(crate) fn message(&self, key: &(ConversationKey, u64)) -> Option<&Target> {
        self.messages.get(key)
    }

    /// Takes in the store's head, read when the store covered the log up to `as_of` at least. False: too old, read again.
    pub(crate) fn learn_head(
        &mut self,
        key: ConversationKey,
        head: Option<Head>,
        as_of: u64,
    ) -> bool {
        if as_of < self.heads_floor {
            return false;
        }
        let stored = OwnerHead::stored(head);
        match self.heads.get_mut(&key) {
            // No member event was folded, so the store's is the last.
            Some(known) => known.member_seq = known.member_seq.or(stored.member_seq),
            None => self.heads.put(key, stored, 0, i64::MIN),
        }
        true
    }

    /// Takes in a receipt that the store has.
    pub(crate) fn learn_id(&mut self, id: IdDigest, found: (Receipt, Fingerprint)) {
        if self.ids.get(&id).is_none() {
            self.ids.put(id, found, 0, i64::MIN);
        }
    }

    /// Whether what the store, covering the log up to `as_of`, does not have and the memory does not have, was never there.
    pub(crate) fn ids_reach(&self, as_of: u64) -> bool {
        as_of >= self.ids_floor
    }

    /// Takes in a message that the store has. False: the answer is too old, read again.
    pub(crate) fn learn_message(
        &mut self,
        key: (ConversationKey, u64),
        target: Target,
        as_of: u64,
    ) -> bool {
        if as_of < self.messages_floor {
            return false;
        }
        if self.messages.get(&key).is_none() {
            self.messages.put(key, target, 0, i64::MIN);
        }
        true
    }

    /// Like [`Self::ids_reach`], for messages.
    pub(crate) fn messages_reach(&self, as_of: u64) -> bool {
        as_of >= self.messages_floor
    }

    /// Takes in an event of the record at `offset` that counts.
    pub(crate) fn follow(
        &mut self,
        offset: u64,
        event: &LoggedEvent,
        id: Option<IdDigest>,
    ) -> Result<(), BrokenLog> {
        let (header, key) = (event.header(), event.key());
        let (end, time) = (offset + 1, header.time_ms);
        if let Some(id) = id {
            self.ids
                .put(id, (event.receipt(), event.fingerprint()), end, time);
        }
        if event.is_message() {
            let target = Target {
                sender: header.sender_id.as_str().into(),
                time_ms: time,
                recalled: false,
            };
            self.messages
                .put((key.clone(), header.seq), target, end, time);
        }
        if let Some(seq) = event.recalls() {
            let known = self.messages.get(&(key.clone(), seq));
            let sender = known.map_or_else(|| Arc::from(""), |it| Arc::clone(&it.sender));
            let time_ms = known.map_or(0, |it| it.time_ms);
            self.messages.put(
                (key.clone(), seq),
                Target {
                    sender,
                    time_ms,
                    recalled: true,
                },
                end,
                time,
            );
        }
        self.follow_head(end, event)
    }

    fn follow_head(&mut self, end: u64, event: &LoggedEvent) -> Result<(), BrokenLog> {
        let (header, key) = (event.header(), event.key());
        let time = header.time_ms;
        if let Some(head) = self.heads.in_newest(key, end, time) {
            return Self::step_head(head, event);
        }
        let mut head = match self.heads.get(key) {
            Some(head) => head.clone(),
            // The first event of all: nothing lies below it. Of a direct conversation nothing ever changes who takes part.
            None if header.seq == 1 || header.class() == ConversationClass::Direct => OwnerHead {
                seq: header.seq - 1,
                member_seq: Some(0),
                ..OwnerHead::default()
            },
            None => OwnerHead {
                seq: header.seq - 1,
                ..OwnerHead::default()
            },
        };
        let step = Self::step_head(&mut head, event);
        self.heads.put(key.clone(), head, end, time);
        step
    }

    fn step_head(head: &mut OwnerHead, event: &LoggedEvent) -> Result<(), BrokenLog> {
        let header = event.header();
        if header.seq > head.seq + 1 {
            return Err(BrokenLog {
                message_id: header.message_id.clone(),
                conversation: event.key().clone(),
                seq: header.seq,
                head: head.seq,
            });
        }
        // A head that was read from the store may be ahead of the fold.
        if header.seq == head.seq + 1 {
            head.follow(header);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> [usize; 3] {
        [self.heads.len(), self.ids.len(), self.messages.len()]
    }

    /// Whether a table is above its bound and what is oldest in it lies in the store.
    pub(crate) fn can_evict(&self, stored: u64) -> bool {
        self.heads.can_evict(stored)
            || self.ids.can_evict(stored)
            || self.messages.can_evict(stored)
    }

    /// Forgets what lies below `stored`, the store's cursor, but for what is named.
    pub(crate) fn evict(&mut self, stored: u64, named: &Named) {
        if self.heads.can_evict(stored)
            && let Some(gone) = self.heads.evict(named.heads.iter())
        {
            self.heads_floor = self.heads_floor.max(gone.end_offset);
        }
        if self.ids.can_evict(stored)
            && let Some(gone) = self.ids.evict(named.ids.iter())
        {
            self.ids_floor = self.ids_floor.max(gone.end_offset);
            self.horizon_ms = self.horizon_ms.max(gone.latest_ms);
        }
        if self.messages.can_evict(stored)
            && let Some(gone) = self.messages.evict(named.messages.iter())
        {
            self.messages_floor = self.messages_floor.max(gone.end_offset);
        }
    }
}

/// Folds a digest, which is uniform already, with a seed that nobody outside knows.
#[derive(Clone, Debug)]
struct DigestHasher {
    seed: u64,
    folded: u64,
}

impl DigestHasher {
    fn new(seed: u64) -> Self {
        Self {
            seed: seed | 1,
            folded: 0,
        }
    }
}

impl BuildHasher for DigestHasher {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        self.clone()
    }
}

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.folded
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.folded = (self.folded ^ u64::from(*byte))
                .wrapping_mul(self.seed)
                .rotate_left(23);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        let (high, low) = ((digest >> 64) as u64, digest as u64);
        let product = u128::from(high ^ self.seed) * u128::from(low ^ self.seed.rotate_left(32));
        self.folded = (product >> 64) as u64 ^ product as u64;
    }
}
