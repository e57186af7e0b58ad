//! The message log in Kafka: one topic, a partition of the log for each of its partitions.

mod appending;
mod client;
mod fitness;
mod group;
mod lane;
mod reading;
mod slot;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::error::KafkaError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::fitness::topic_spec;
use self::{
    appending::{Appender, OnFatal},
    group::Group,
    reading::Reading,
};
use super::{AppendError, LogRead, MessageLog, ReadError, RoomState, TrimError};
use crate::{
    kafka::{KafkaConfig, topics::TopicsError},
    log_file::MAX_RECORD_BYTES,
};

/// The topic of the log, without the installation's prefix.
pub const TOPIC: &str = "flare.im.message";

/// A read, or a question for the log's bounds, that Kafka has not answered by then ends with [`ReadError::Unavailable`].
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the log in Kafka was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The topic, or a broker, is not as it must be: all that is wrong.
    #[error("the message log cannot be kept in Kafka as it is:\n  {}", .0.join("\n  "))]
    Unfit(Vec<String>),
    /// The brokers do not answer.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// A client cannot be made, or does not reach the topic.
    #[error("the message log in Kafka cannot be opened: {0}")]
    Client(#[from] KafkaError),
}

/// A [`MessageLog`] in a topic of Kafka.
///
/// **Appends** go through one producer that all partitions share: acknowledged by all replicas in sync, up to 1000 requests on their
/// way, nothing waits for company. An append ends after at most [`MESSAGE_TIMEOUT_MS`](crate::kafka::MESSAGE_TIMEOUT_MS). It is
/// [`AppendError::NoRoom`] if the producer's own queue is full, which is before anything was sent; whatever happens later is
/// [`AppendError::Unknown`].
///
/// **Reads** are sequential for the most part, so each reader has a place: a partition of a consumer, from which records come as the broker
/// has them and wait in a bounded queue until the reader takes them. A consumer holds one place of each partition. There are three
/// consumers, each opened when it is first needed: one for who waits for more ([`wait_beyond`](MessageLog::wait_beyond)), at whose
/// fetches the broker waits for a tenth of a second, so that an idle partition costs ten requests a second for all partitions of a broker
/// together; and two for who reads what is there already, at whose fetches the broker does not wait. So three readers of one partition
/// go on side by side; a fourth takes the place that was left alone for longest. A place that nobody uses is given up after
/// two seconds (thirty for who waits), and its fetches end.
///
/// Memory: a place holds at most 1 MiB that nobody asked for yet, and one answer to a fetch, of at most 4 MiB, which all partitions of a
/// broker share; besides, the records of the last read until the next one.
///
/// **Bounds.** Consumers see what all replicas in sync have. The end is the highest offset that was read or acknowledged here, and a read that
/// reaches it asks the broker, unless it follows the end anyway.
///
/// **Trimming** is left to Kafka's retention by time, so that a store which is restored from a backup finds the log that follows it. Retention
/// does not know of the store: what the port says of [`trim`](MessageLog::trim) holds as long as the store lags by less than the topic's
/// `retention.ms`, of which [`open`](Self::open) demands a day; owners refuse commands long before. `flare_storage_writer_lag_seconds` shows
/// the lag. Were it ever exceeded, the store's next read would end with [`ReadError::Trimmed`], and its partition would halt.
///
/// **Assignments** come from a consumer group of Kafka's, whose partitions are paused: it reads nothing. Who dies is missed after ten seconds,
/// who leaves after a fraction of one.
pub struct KafkaMessageLog {
    partitions: u32,
    kafka: KafkaConfig,
    appender: Appender,
    reading: Arc<Reading>,
    groups: Mutex<HashMap<String, Group>>,
    closed: CancellationToken,
}

impl KafkaMessageLog {
    /// Checks that the topic is fit and opens the log, which must have `partitions` partitions. `on_fatal` is called once if the producer fails for
    /// good: later appends are refused with [`AppendError::Closed`], and the process has to end.
    ///
    /// # Errors
    /// [`OpenError`]: with all that is wrong with topic and brokers, or that they cannot be reached.
    pub async fn open(
        kafka: &KafkaConfig,
        partitions: u32,
        on_fatal: OnFatal,
    ) -> Result<Self, OpenError> {
        let mistakes = fitness::mistakes(kafka, partitions).await?;
        if !mistakes.is_empty() {
            return Err(OpenError::Unfit(mistakes));
        }
        let appender = Appender::open(kafka, on_fatal).await?;
        let closed = CancellationToken::new();
        let reading = Reading::new(kafka, partitions, appender.producer(), closed.clone());
        tokio::spawn(reading::keep(Arc::clone(&reading)));
        Ok(Self {
            partitions,
            kafka: kafka.clone(),
            appender,
            reading,
            groups: Mutex::default(),
            closed,
        })
    }

    /// Leaves all groups, so that others take over at once, and ends every wait with [`ReadError::Closed`]. Later appends are refused with
    /// [`AppendError::Closed`]. Blocks for a fraction of a second, and for up to three more while a group changes.
    pub fn close(&self) {
        self.closed.cancel();
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.clear();
    }
}

impl Drop for KafkaMessageLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl MessageLog for KafkaMessageLog {
    async fn append(&self, partition: u32, record: Bytes) -> Result<u64, AppendError> {
        if partition >= self.partitions {
            return Err(AppendError::NoSuchPartition(partition));
        }
        if self.closed.is_cancelled() {
            return Err(AppendError::Closed(partition));
        }
        if record.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLarge {
                partition,
                bytes: record.len(),
                limit: MAX_RECORD_BYTES,
            });
        }
        let offset = self.appender.append(partition, &record).await?;
        self.reading.acknowledged(partition, offset);
        Ok(offset)
    }

    async fn read(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<LogRead, ReadError> {
        self.reading.read(partition, from, max_bytes).await
    }

    async fn floor(&self, partition: u32) -> Result<u64, ReadError> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let (floor, _) = self.reading.bounds(partition, deadline).await?;
        Ok(floor)
    }

    async fn durable_end(&self, partition: u32) -> Result<u64, ReadError> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let (_, end) = self.reading.bounds(partition, deadline).await?;
        Ok(end)
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<u64, ReadError> {
        self.reading.wait_beyond(partition, offset).await
    }

    async fn trim(&self, partition: u32, released: u64, stored: u64) -> Result<(), TrimError> {
        let below = released.max(stored);
        let known = self.reading.known_end(partition);
        if known.is_some_and(|end| below <= end) {
            return Ok(());
        }
        let durable_end = self
            .durable_end(partition)
            .await
            .map_err(|error| match error {
                ReadError::NoSuchPartition(partition) => TrimError::NoSuchPartition(partition),
                error => TrimError::Failed {
                    partition,
                    reason: error.to_string(),
                },
            })?;
        if below > durable_end {
            return Err(TrimError::BeyondEnd {
                partition,
                below,
                durable_end,
            });
        }
        Ok(())
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn assignments(&self, group: &str) -> watch::Receiver<Vec<u32>> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.is_cancelled() {
            return watch::Sender::default().subscribe();
        }
        if let Some(assigned) = groups.get(group).and_then(Group::subscribe) {
            return assigned;
        }
        let (member, assigned) = Group::join(&self.kafka, group);
        groups.insert(group.to_owned(), member);
        assigned
    }

    fn room(&self) -> RoomState {
        RoomState::Enough
    }

    fn is_shared(&self) -> bool {
        true
    }
}
