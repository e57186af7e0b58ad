//! The port of the store of record.

pub(crate) mod admission;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ulid::Ulid;

use crate::{
    apply::LogState,
    command_id::{Fingerprint, IdKey, Receipt},
    conversation_key::ConversationKey,
    head::{BrokenInvariant, Head},
    logged_event::LoggedEvent,
};

/// How far a store holds a partition's log: the state of the fold that made its rows.
pub type Cursor = LogState;

/// What a run of log records adds to a partition, all or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreBatch {
    /// The partition of the log.
    pub partition: u32,
    /// The fold's state before the run.
    pub from: Cursor,
    /// The fold's state after it. May be ahead of `from` without an event: takeovers and skipped records move it too.
    pub to: Cursor,
    /// The events that count, in the log's order.
    pub events: Vec<LoggedEvent>,
    /// The head of each conversation that `events` touches, as it is after them.
    pub heads: Vec<(ConversationKey, Head)>,
}

/// Where a page of messages lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageQuery {
    /// The last messages below this seq; `u64::MAX`: the last of all.
    Before(u64),
    /// The first messages above this seq.
    After(u64),
    /// The first message at or after this time, Unix milliseconds, and those after it.
    FromTime(i64),
}

/// A message as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// The seq of the creating event.
    pub seq: u64,
    /// The creating event, with its body even if it was recalled: who answers others with it leaves the body out.
    pub event: Bytes,
    /// The seq of the event that took it back.
    pub recalled_by_seq: Option<u64>,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The place of an event is taken by another one. Stop the partition; nothing was written.
    #[error("{key} seq {seq} holds another event than {message_id}")]
    SeqConflict {
        /// The conversation.
        key: ConversationKey,
        /// The place.
        seq: u64,
        /// The event that was to stand there.
        message_id: Ulid,
    },
    /// The client id of an event belongs to another event. Stop the partition; nothing was written.
    #[error("client id {client_id:?} of {message_id} belongs to another event of {key}")]
    IdConflict {
        /// The conversation.
        key: ConversationKey,
        /// The id.
        client_id: String,
        /// The event that was to have it.
        message_id: Ulid,
    },
    /// An event does not follow from its conversation's head. Stop the partition; nothing was written.
    #[error("partition {partition}: {source}")]
    Broken {
        /// The partition.
        partition: u32,
        /// What is wrong.
        source: BrokenInvariant,
    },
    /// The batch's heads are not those of its events. Nothing was written.
    #[error("the batch has no head of {key} at seq {seq}")]
    Heads {
        /// The conversation.
        key: ConversationKey,
        /// The seq of its last event.
        seq: u64,
    },
    /// The batch begins above the store's cursor: something is missing. Nothing was written.
    #[error("partition {partition} is stored up to offset {stored}, the batch begins at {from}")]
    Gap {
        /// The partition.
        partition: u32,
        /// The store's next offset.
        stored: u64,
        /// The batch's first offset.
        from: u64,
    },
    /// Two rows contradict each other, or one does not decode: the store's files are damaged.
    #[error("store is damaged: {0}")]
    Damaged(String),
    /// The store's files are of a version that this one does not know.
    #[error(
        "store in {folder} has format {found}, known is {known}: run the version that wrote it; if a file of it is missing or damaged, restore the whole data folder from one backup"
    )]
    UnknownFormat {
        /// Where it lies.
        folder: String,
        /// What it says.
        found: String,
        /// What this version reads.
        known: u8,
    },
    /// The store cannot answer now. A repetition may succeed.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// A write or sync failed: the store takes no more until it is opened again, and nobody knows what of that write is on disk.
    #[error("store has failed: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether the partition must stop: going on would skip or overwrite an event.
    pub fn is_broken_invariant(&self) -> bool {
        matches!(
            self,
            Self::SeqConflict { .. }
                | Self::IdConflict { .. }
                | Self::Broken { .. }
                | Self::Heads { .. }
                | Self::Gap { .. }
                | Self::Damaged(_)
        )
    }
}

/// The store of record: below its cursor it is the truth, above it the log is.
///
/// One writer per partition commits, in the order of the log; anybody reads. What an adapter owes:
///
/// - **Whole.** A batch's events, heads, ids and cursor become readable together or not at all, and come back together or not at all after
///   a crash.
/// - **Repeatable.** A batch, or part of one, that was committed before changes nothing: writers begin again at the cursor after a crash.
/// - **Never overwrite.** A (conversation, seq) or a client id that holds other content refuses the batch.
/// - **Readable when committed.** Once `commit` has returned, every read sees the batch, and `cursor` covers it.
/// - **No gap.** Reads see a contiguous run of a conversation's events from the floor to the head.
/// - **Nobody else's.** A key names one conversation of one tenant; no read shows a row of another.
/// - **No guess.** What cannot be read is an error. `None` and an empty list mean that there is nothing.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Up to where the partition is committed and readable. A partition that was never written is at the default.
    async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError>;

    /// Up to where the partition survives a power loss: what the log may be trimmed to. Never ahead of `cursor`.
    async fn synced_cursor(&self, partition: u32) -> Result<Cursor, StoreError>;

    /// Commits a run of the log. `from` may lie below the cursor (repetition: what is there is compared, the rest is added, the cursor
    /// never moves back); above, the batch is refused with `Gap`. May wait while the store is behind. Dropping the call leaves it
    /// either committed or not.
    async fn commit(&self, batch: Arc<StoreBatch>) -> Result<(), StoreError>;

    /// Waits until the record at `offset` is committed, and gives the cursor; ends with `Closed` when the store does.
    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<Cursor, StoreError>;

    /// The committed heads, in the order of the keys; `None`: no event. One batched read.
    async fn heads(&self, keys: &[ConversationKey]) -> Result<Vec<Option<Head>>, StoreError>;

    /// The receipts that the commands got, with the fingerprints of what they said, in the order of the keys; `None`: no such command.
    /// One batched read.
    async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError>;

    /// Encoded events from `after_seq` + 1 on without a hole; where the floor is above that, from the floor on. At most `limit`, and no
    /// more than `max_bytes` together, but one event at least. Empty: nothing above `after_seq`.
    async fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError>;

    /// One encoded event; `None` above the head and below the floor.
    async fn event(&self, key: &ConversationKey, seq: u64) -> Result<Option<Bytes>, StoreError>;

    /// A page of messages by rising seq: at most `limit`, fewer only at the conversation's end. Other events have no row.
    async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError>;

    /// How many recalled messages are above `seq`: what a head with too many of them does not tell.
    async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError>;

    /// Which messages from `first_seq` to `last_seq`, both included, were taken back, by rising seq. For runs of which a head with too many
    /// of them does not tell.
    async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError>;

    /// Where the event went.
    async fn locate(&self, message_id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError>;

    /// Ends the store: what is committed survives a power loss, later commits are refused with `Closed`, waiters end, reads still answer.
    /// Who commits calls it last. May be repeated.
    async fn close(&self) -> Result<(), StoreError>;

    /// The oldest seq that is kept: 1 until retention takes something away. 1 for a conversation without events.
    async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError>;
}
