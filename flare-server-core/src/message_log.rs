//! The log of messages: the write-ahead log in which a message gets its place.
//!
//! [`MessageLog`] is a port. [`EmbeddedMessageLog`] keeps it in a segmented file of this process;
//! a cluster keeps it in Kafka: `KafkaMessageLog`, behind the feature `cluster`. Every adapter
//! passes the suite in [`contract`].

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

#[doc(hidden)]
pub mod contract;
mod embedded_message_log;
#[cfg(feature = "cluster")]
mod kafka_message_log;

pub use crate::log_file::RoomState;
pub use embedded_message_log::{EMBEDDED_PARTITION, EmbeddedMessageLog};
#[cfg(feature = "cluster")]
pub use kafka_message_log::{KafkaMessageLog, OpenError, TOPIC, topic_spec};

/// Partitions of records with dense offsets: appended to at the end, read from anywhere, trimmed
/// at the beginning.
///
/// Callers share one instance and call it from any task at the same time. What an implementation
/// owes:
///
/// - **Durable.** When [`append`](Self::append) returns `Ok`, the record survives the loss of power
///   (where there are several machines: of one).
/// - **Dense.** The offsets of a partition are 0, 1, 2, …, across restarts too. A refused append
///   uses none, and an append that begins after another has returned gets a greater one.
/// - **Unaltered.** A record is read as it was appended, byte for byte, at the offset that was
///   reported and at no other. (After [`AppendError::Unknown`] it may be there any number of times.)
/// - **Unknown means maybe.** [`AppendError::Unknown`] says nothing: the record may be in the log,
///   or get there later. Every other error means that it is not and will not be. If the future of
///   an append is dropped, the outcome is unknown.
/// - **Seen when acknowledged.** Once `append` has returned an offset, the durable end is beyond it
///   and a read returns the record.
/// - **Only what is durable is seen.** A read ends at the durable end, and what has been read once
///   is not lost afterwards.
/// - **Contiguous.** A read returns records from `from` on without a gap, or says that they are
///   gone.
/// - **Bounded.** A read returns at most `max_bytes`, but at least one record if there is any.
/// - **Waits.** [`wait_beyond`](Self::wait_beyond) resolves when, and only when, there is more.
/// - **Trimmed as told.** Nothing goes that was not released by [`trim`](Self::trim), or said there
///   to be stored and beyond a configured retention, which is reported loudly. What goes is a prefix.
/// - **Limited.** A record above the limit is refused.
/// - **Refused for want of room.** Where the log watches its room, it refuses appends with
///   [`AppendError::NoRoom`] while there is too little, and goes on reading.
/// - **Partitioned.** Only partitions below [`partitions`](Self::partitions) are taken;
///   [`assignments`](Self::assignments) lists some of them, and while a process is the only one in a
///   group, soon all of them.
///
/// Each is a test in [`contract`].
#[async_trait]
pub trait MessageLog: Send + Sync + 'static {
    /// Appends a record of at most [`MAX_RECORD_BYTES`](crate::log_file::MAX_RECORD_BYTES) bytes
    /// and returns its offset.
    ///
    /// # Errors
    /// [`AppendError`]. Only [`AppendError::Unknown`] leaves open whether the record is kept.
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, AppendError>;

    /// Records from offset `from` on: at most `max_bytes`, but at least one if there is any. None,
    /// if `from` is the durable end.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] if records from `from` on are gone, [`ReadError::BeyondEnd`] if `from`
    /// is beyond the durable end.
    async fn read(&self, partition: u32, from: u64, max_bytes: usize)
    -> Result<LogRead, ReadError>;

    /// The oldest offset that can be read; the durable end, if there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn floor(&self, partition: u32) -> Result<u64, ReadError>;

    /// The offset after the last durable record. It only grows.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn durable_end(&self, partition: u32) -> Result<u64, ReadError>;

    /// Waits until the durable end is greater than `offset`, and returns it. Nothing is lost if
    /// the future is dropped. It has no deadline of its own.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the log is closed before.
    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<u64, ReadError>;

    /// Says that nobody will ask for records below `released` again, and that those below `stored`
    /// are in the store of record for good: a configured retention may remove them though they are
    /// not released. The floor does not rise above the higher of the two; it may stay lower.
    ///
    /// # Errors
    /// [`TrimError`]. It may be repeated.
    async fn trim(&self, partition: u32, released: u64, stored: u64) -> Result<(), TrimError>;

    /// How many partitions there are: they are numbered from 0.
    fn partitions(&self) -> u32;

    /// The partitions that this process should work on as a member of `group`, ascending: the
    /// processes of a group share all of them. A hint, not a proof: for a while two may be told the
    /// same, or nobody.
    ///
    /// A process takes part from its first call on, and leaves the group when the last receiver is
    /// dropped. Until others have answered, the list is empty.
    fn assignments(&self, group: &str) -> watch::Receiver<Vec<u32>>;

    /// Whether appends are taken for want of room. Costs nothing: the log looks at the disk when
    /// that may have changed. Always [`RoomState::Enough`] where the log does not watch its room.
    fn room(&self) -> RoomState;

    /// Whether other processes may append to the same partitions. False only where something
    /// keeps them out, as the lock of a folder does.
    fn is_shared(&self) -> bool;
}

/// What a read returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRead {
    /// Offsets and records, dense and ascending. Records of one read may share one allocation:
    /// copy what is kept for long.
    pub records: Vec<(u64, Bytes)>,
    /// The offset after the last durable record, at the time of the read.
    pub durable_end: u64,
}

/// Why an append has no offset to report.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The record may be in the log, or get there later. Not to be repeated blindly.
    #[error("append to partition {partition}: outcome unknown: {reason}")]
    Unknown {
        /// The partition.
        partition: u32,
        /// What happened.
        reason: String,
    },
    /// There is too little room. The record was not appended; try again later.
    #[error("append to partition {partition}: no room, try again in {retry_after_ms} ms")]
    NoRoom {
        /// The partition.
        partition: u32,
        /// When trying again is worth it, in milliseconds.
        retry_after_ms: u64,
    },
    /// The record is too large and was not appended.
    #[error("append to partition {partition}: record of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// The partition.
        partition: u32,
        /// The record's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no such partition.
    #[error("append to partition {0}: there is no such partition")]
    NoSuchPartition(u32),
    /// The log is closed, or refuses appends since one failed. The record was not appended.
    #[error("append to partition {0}: the log takes no more appends")]
    Closed(u32),
}

impl AppendError {
    /// Whether the same append may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NoRoom { .. })
    }
}

/// Why a read has nothing to return.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The records from `offset` up to `floor` are gone.
    #[error("partition {partition}, offset {offset}: gone, the log begins at {floor}")]
    Trimmed {
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: u64,
        /// The oldest offset there is.
        floor: u64,
    },
    /// The offset is beyond the durable end: whoever asks knows of a record that is not there.
    #[error("partition {partition}, offset {offset}: beyond the durable end {durable_end}")]
    BeyondEnd {
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: u64,
        /// The offset after the last durable record.
        durable_end: u64,
    },
    /// There is no such partition.
    #[error("partition {0}: there is no such partition")]
    NoSuchPartition(u32),
    /// The log was found damaged, in `file` at `byte`.
    #[error("partition {partition}: damaged: {}, byte {byte}: {reason}", file.display())]
    Damaged {
        /// The partition.
        partition: u32,
        /// The file.
        file: PathBuf,
        /// Bytes from its start.
        byte: u64,
        /// What was found there.
        reason: String,
    },
    /// The log cannot be read at the moment: it may be tried again.
    #[error("partition {partition}: {reason}")]
    Unavailable {
        /// The partition.
        partition: u32,
        /// What happened.
        reason: String,
    },
    /// The log is closed.
    #[error("partition {0}: the log is closed")]
    Closed(u32),
}

/// Why a log was not trimmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrimError {
    /// The offset is beyond the durable end.
    #[error("trim of partition {partition} below {below}: beyond the durable end {durable_end}")]
    BeyondEnd {
        /// The partition.
        partition: u32,
        /// The offset that was given.
        below: u64,
        /// The offset after the last durable record.
        durable_end: u64,
    },
    /// There is no such partition.
    #[error("trim of partition {0}: there is no such partition")]
    NoSuchPartition(u32),
    /// It failed; it may be tried again.
    #[error("trim of partition {partition}: {reason}")]
    Failed {
        /// The partition.
        partition: u32,
        /// What happened.
        reason: String,
    },
}

impl fmt::Debug for dyn MessageLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageLog")
    }
}
