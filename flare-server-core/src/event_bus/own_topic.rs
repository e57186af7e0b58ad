use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{BusRecord, PublishError, TopicView, ViewError, ViewRead};
use crate::log_file::{AsyncLog, AsyncLogOptions, FileLayer, LogError};

const VERSION: u8 = 1;
/// Bytes handed to a handler at once.
const BATCH_BYTES: usize = 256 << 10;

/// What a record grows by at most when it becomes a dead letter, in bytes.
const DEAD_LETTER_BYTES: usize = 1_280;

/// A topic with a log file of its own; a position is an offset in it. A record there is a version
/// byte (1), the key with a length `u32` before it, little-endian, and the payload.
pub(super) struct OwnTopic {
    name: String,
    log: AsyncLog,
    record_limit: usize,
    retry_after_ms: u64,
}

impl OwnTopic {
    pub(super) fn open(
        layer: Arc<dyn FileLayer>,
        folder: &Path,
        name: &str,
        options: AsyncLogOptions,
    ) -> Result<Self, LogError> {
        let retry_after_ms =
            u64::try_from(options.room_check_every.as_millis()).unwrap_or(u64::MAX);
        // Whatever is taken fits the dead letters too.
        let reserve = if name.ends_with(".dlq") {
            0
        } else {
            DEAD_LETTER_BYTES
        };
        let record_limit = options.log.record_limit().saturating_sub(reserve);
        let log = AsyncLog::open(layer, folder, options)?;
        Ok(Self {
            name: name.to_owned(),
            log,
            record_limit,
            retry_after_ms,
        })
    }

    pub(super) fn log(&self) -> &AsyncLog {
        &self.log
    }

    pub(super) async fn publish(&self, records: Vec<(Bytes, Bytes)>) -> Result<(), PublishError> {
        let topic = || self.name.clone();
        let records: Vec<_> = records
            .iter()
            .map(|(key, payload)| encode(key, payload))
            .collect();
        let limit = self.record_limit;
        if let Some(record) = records.iter().find(|record| record.len() > limit) {
            return Err(PublishError::TooLarge {
                topic: topic(),
                bytes: record.len(),
                limit,
            });
        }
        self.log
            .append(records)
            .await
            .map(|_| ())
            .map_err(|error| match error {
                LogError::NoRoom { .. } => PublishError::NoRoom {
                    topic: topic(),
                    retry_after_ms: self.retry_after_ms,
                },
                LogError::TooLarge { bytes, limit } => PublishError::TooLarge {
                    topic: topic(),
                    bytes,
                    limit,
                },
                LogError::Closed => PublishError::Closed(topic()),
                LogError::Poisoned { .. } => PublishError::Failed {
                    topic: topic(),
                    reason: error.to_string(),
                },
                other => PublishError::Unknown {
                    topic: topic(),
                    reason: other.to_string(),
                },
            })
    }
}

#[async_trait]
impl TopicView for OwnTopic {
    async fn read(&self, from: u64, max_records: usize) -> Result<ViewRead, ViewError> {
        let slice = self
            .log
            .read(from, BATCH_BYTES)
            .await
            .map_err(|error| match error {
                LogError::Trimmed { floor, .. } => ViewError::Trimmed { floor },
                LogError::Closed => ViewError::Closed,
                other => ViewError::Unavailable(other.to_string()),
            })?;
        let records = slice.records.into_iter().take(max_records);
        let records: Vec<_> = records
            .map(|(position, record)| decode(position, record))
            .collect::<Result<_, _>>()?;
        let next = records.last().map_or(from, |last| last.position + 1);
        Ok(ViewRead { records, next })
    }

    fn floor(&self) -> u64 {
        self.log.reader().floor()
    }

    fn end(&self) -> u64 {
        self.log.reader().end()
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), ViewError> {
        self.log
            .wait_beyond(position)
            .await
            .map(|_| ())
            .map_err(|_| ViewError::Closed)
    }
}

fn encode(key: &Bytes, payload: &Bytes) -> Bytes {
    let mut record = BytesMut::with_capacity(5 + key.len() + payload.len());
    record.put_u8(VERSION);
    record.put_u32_le(u32::try_from(key.len()).unwrap_or(u32::MAX));
    record.put_slice(key);
    record.put_slice(payload);
    record.freeze()
}

fn decode(position: u64, mut record: Bytes) -> Result<BusRecord, ViewError> {
    let unknown = || {
        ViewError::Unavailable(format!(
            "the record at position {position} is none of a topic"
        ))
    };
    if record.try_get_u8() != Ok(VERSION) {
        return Err(unknown());
    }
    let key_bytes = record.try_get_u32_le().map_err(|_| unknown())? as usize;
    if key_bytes > record.len() {
        return Err(unknown());
    }
    let key = record.split_to(key_bytes);
    Ok(BusRecord {
        key,
        payload: record,
        position,
    })
}
