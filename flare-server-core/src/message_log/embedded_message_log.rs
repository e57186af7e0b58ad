use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{AppendError, LogRead, MessageLog, ReadError, RoomState, TrimError};
use crate::log_file::{AsyncLog, AsyncLogOptions, Durability, FileLayer, LogError};

/// The one partition of an [`EmbeddedMessageLog`].
pub const EMBEDDED_PARTITION: u32 = 0;

/// A [`MessageLog`] of one partition in a segmented file of this process: see
/// [`log_file`](crate::log_file).
///
/// A thread of its own writes whatever appends are waiting and syncs them together. Recent records
/// are read from memory. If a write or sync fails, the appends concerned are unknown, later ones
/// are refused with [`AppendError::Closed`], and
/// [`LogOptions::on_fatal`](crate::log_file::LogOptions::on_fatal) is called: the process has to
/// end.
pub struct EmbeddedMessageLog {
    log: AsyncLog,
    /// Room is looked at so often, so trying again sooner is in vain.
    retry_after_ms: u64,
    assignments: watch::Sender<Vec<u32>>,
}

impl EmbeddedMessageLog {
    /// Opens the log in `folder`, making it if there is none, and starts its thread. Blocks while
    /// it checks the files. The log is always synced, whatever `options` say.
    ///
    /// # Errors
    /// Those of [`LogFile::open`](crate::log_file::LogFile::open): the folder is in use, the log is
    /// damaged, a file cannot be opened.
    pub fn open(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        mut options: AsyncLogOptions,
    ) -> Result<Self, LogError> {
        options.log.durability = Durability::Synced;
        let retry_after_ms =
            u64::try_from(options.room_check_every.as_millis()).unwrap_or(u64::MAX);
        let log = AsyncLog::open(layer, folder, options)?;
        Ok(Self {
            log,
            retry_after_ms,
            assignments: watch::Sender::new(vec![EMBEDDED_PARTITION]),
        })
    }

    /// Refuses a log that ends before a cursor that `owner` keeps elsewhere, naming file and byte.
    /// To be called for the store's and every consumer's cursor before anything is served.
    ///
    /// # Errors
    /// [`LogError::EndsBeforeCursor`].
    pub fn check_cursor(&self, owner: &str, cursor: u64) -> Result<(), LogError> {
        self.log.reader().check_cursor(owner, cursor)
    }

    /// Writes and syncs what waits, then releases the folder. Blocks on the disk. Later appends
    /// are refused with [`AppendError::Closed`].
    pub fn close(&self) {
        self.log.close();
    }
}

#[async_trait]
impl MessageLog for EmbeddedMessageLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, AppendError> {
        if partition != EMBEDDED_PARTITION {
            return Err(AppendError::NoSuchPartition(partition));
        }
        self.log
            .append(vec![record])
            .await
            .map_err(|error| match error {
                LogError::NoRoom { .. } => AppendError::NoRoom {
                    partition,
                    retry_after_ms: self.retry_after_ms,
                },
                LogError::TooLarge { bytes, limit } => AppendError::TooLarge {
                    partition,
                    bytes,
                    limit,
                },
                LogError::Closed | LogError::Poisoned { .. } => AppendError::Closed(partition),
                other => AppendError::Unknown {
                    partition,
                    reason: other.to_string(),
                },
            })
    }

    async fn read(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<LogRead, ReadError> {
        known(partition)?;
        let slice = self
            .log
            .read(from, max_bytes)
            .await
            .map_err(|error| match error {
                LogError::Trimmed { offset, floor } => ReadError::Trimmed {
                    partition,
                    offset,
                    floor,
                },
                LogError::BeyondEnd { offset, end } => ReadError::BeyondEnd {
                    partition,
                    offset,
                    durable_end: end,
                },
                LogError::Damaged { file, byte, reason } => ReadError::Damaged {
                    partition,
                    file,
                    byte,
                    reason,
                },
                LogError::Closed => ReadError::Closed(partition),
                other => ReadError::Unavailable {
                    partition,
                    reason: other.to_string(),
                },
            })?;
        Ok(LogRead {
            records: slice.records,
            durable_end: slice.end,
        })
    }

    async fn floor(&self, partition: u32) -> Result<u64, ReadError> {
        known(partition)?;
        Ok(self.log.reader().floor())
    }

    async fn durable_end(&self, partition: u32) -> Result<u64, ReadError> {
        known(partition)?;
        Ok(self.log.reader().end())
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<u64, ReadError> {
        known(partition)?;
        self.log
            .wait_beyond(offset)
            .await
            .map_err(|_| ReadError::Closed(partition))
    }

    async fn trim(&self, partition: u32, released: u64, stored: u64) -> Result<(), TrimError> {
        if partition != EMBEDDED_PARTITION {
            return Err(TrimError::NoSuchPartition(partition));
        }
        self.log
            .trim(released, stored)
            .await
            .map(|_| ())
            .map_err(|error| match error {
                LogError::BeyondEnd { offset, end } => TrimError::BeyondEnd {
                    partition,
                    below: offset,
                    durable_end: end,
                },
                other => TrimError::Failed {
                    partition,
                    reason: other.to_string(),
                },
            })
    }

    fn partitions(&self) -> u32 {
        1
    }

    fn assignments(&self, _group: &str) -> watch::Receiver<Vec<u32>> {
        self.assignments.subscribe()
    }

    fn room(&self) -> RoomState {
        self.log.reader().room()
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn known(partition: u32) -> Result<(), ReadError> {
    if partition == EMBEDDED_PARTITION {
        Ok(())
    } else {
        Err(ReadError::NoSuchPartition(partition))
    }
}
