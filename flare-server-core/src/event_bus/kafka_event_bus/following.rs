//! Gives a follower the records of a topic, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::failed;
use super::lane::{Topic, position};
use super::observer::{Observer, Offsets, bounds};
use super::report::Quiet;
use crate::event_bus::{BusRecord, Ends, Follower, Frontier, SubscribeError};

/// The thread looks so often whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// What cannot be read is tried again after so long.
const PAUSE: Duration = Duration::from_millis(500);
/// Records that are handed over at once, at most, and bytes, unless one is larger.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 256 << 10;

/// The end of a thread, and how far its follower is.
type Begun = (oneshot::Receiver<()>, watch::Receiver<Option<Frontier>>);

/// Begins a thread. The library asks for the name of a `group`, which nobody joins.
pub(super) fn begin(
    mut config: ClientConfig,
    group: String,
    topic: Arc<Topic>,
    behind: u64,
    follower: Arc<dyn Follower>,
    stop: CancellationToken,
) -> io::Result<Begun> {
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.min.bytes", "1")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "262144");
    let (reached, reaches) = watch::channel(None);
    let (ending, ended) = oneshot::channel();
    let following = Following {
        config,
        topic,
        behind,
        follower,
        reached,
        stop,
        next: Vec::new(),
    };
    thread::Builder::new()
        .name("kafka-follower".to_owned())
        .spawn(move || {
            following.run();
            drop(ending);
        })?;
    Ok((ended, reaches))
}

struct Following {
    config: ClientConfig,
    topic: Arc<Topic>,
    behind: u64,
    follower: Arc<dyn Follower>,
    reached: watch::Sender<Option<Frontier>>,
    stop: CancellationToken,
    /// By lane, the offset of the record that is due.
    next: Vec<u64>,
}

/// Why records do not come any more.
enum Over {
    /// It is to end.
    Stopped,
    /// It has to begin anew.
    Lost(KafkaError),
}

impl From<KafkaError> for Over {
    fn from(error: KafkaError) -> Self {
        Self::Lost(error)
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn pause() {
    thread::sleep(PAUSE);
}

impl Following {
    fn run(mut self) {
        loop {
            match self.follow() {
                Over::Stopped => return,
                Over::Lost(error) => {
                    tracing::warn!(topic = self.topic.name, %error, "a follower of a topic begins anew");
                    pause();
                }
            }
        }
    }

    fn follow(&mut self) -> Over {
        let Err(over) = self.try_follow();
        over
    }

    fn try_follow(&mut self) -> Result<std::convert::Infallible, Over> {
        let consumer: BaseConsumer<Quiet> = self.config.create_with_context(Quiet::default())?;
        let (begins, ends) = self.bounds(&consumer)?;
        let each = self.behind / u64::from(self.topic.lanes.max(1));
        let beginning = |lane: i32| {
            let of = |offsets: &Offsets| offsets.get(&lane).copied().unwrap_or(0);
            of(&ends).saturating_sub(each).max(of(&begins))
        };
        self.next = self.topic.all_lanes().map(beginning).collect();
        self.begin();
        consumer.assign(&self.places()?)?;
        loop {
            self.batch(&consumer)?;
        }
    }

    /// Waits for a server that does not answer.
    fn bounds(&self, consumer: &BaseConsumer<Quiet>) -> Result<(Offsets, Offsets), Over> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Over::Stopped);
            }
            match bounds(consumer, &self.topic) {
                Ok(bounds) => return Ok(bounds),
                Err(error) => {
                    tracing::warn!(topic = self.topic.name, %error, "a topic cannot be followed yet");
                    pause();
                }
            }
        }
    }

    fn places(&self) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (lane, next) in self.topic.all_lanes().zip(&self.next) {
            let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic.kafka_name, lane, offset)?;
        }
        Ok(list)
    }

    /// Waits for records, and hands over what is there.
    fn batch(&mut self, consumer: &BaseConsumer<Quiet>) -> Result<(), Over> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut patience = TICK;
        while records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            if self.stop.is_cancelled() {
                return Err(Over::Stopped);
            }
            let message = match consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(error)) if is_lost(&error) => return Err(error.into()),
                // The library tries again.
                Some(Err(_)) => continue,
            };
            patience = Duration::ZERO;
            let (lane, offset) = (message.partition(), message.offset().unsigned_abs());
            let Some(due) = usize::try_from(lane)
                .ok()
                .and_then(|lane| self.next.get_mut(lane))
            else {
                continue;
            };
            if offset < *due {
                continue;
            }
            let is_missed = offset > *due;
            *due = offset;
            if is_missed {
                self.take(std::mem::take(&mut records));
                self.begin();
            }
            if let Some(due) = self.next.get_mut(lane.unsigned_abs() as usize) {
                *due = offset + 1;
            }
            let record = BusRecord {
                key: message
                    .key()
                    .map(Bytes::copy_from_slice)
                    .unwrap_or_default(),
                payload: message
                    .payload()
                    .map(Bytes::copy_from_slice)
                    .unwrap_or_default(),
                position: position(lane, offset),
            };
            bytes += record.key.len() + record.payload.len();
            records.push(record);
        }
        self.take(records);
        Ok(())
    }

    fn begin(&self) {
        let at = Frontier::of_lanes(self.next.iter().copied());
        self.follower.begins(&at);
        self.reached.send_replace(Some(at));
    }

    fn take(&self, records: Vec<BusRecord>) {
        if records.is_empty() {
            return;
        }
        self.follower.take(&records);
        self.reached.send_modify(|reached| {
            let reached = reached.get_or_insert_default();
            records.iter().for_each(|it| reached.advance(it.position));
        });
    }
}

/// Whether it has to begin anew: its place is gone, or the topic, or its consumer is of no use.
fn is_lost(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AutoOffsetReset, OffsetOutOfRange, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    match error {
        KafkaError::MessageConsumptionFatal(_) => true,
        KafkaError::MessageConsumption(code) => matches!(
            code,
            AutoOffsetReset
                | OffsetOutOfRange
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
        ),
        _ => false,
    }
}

#[async_trait]
impl Ends for Observer {
    async fn end(&self) -> Result<Frontier, SubscribeError> {
        let (_, ends) = self
            .bounds()
            .await
            .map_err(|reason| failed(self.topic(), reason))?;
        let lanes = ends.last_key_value().map_or(0, |(lane, _)| lane + 1);
        let end = |lane| ends.get(&lane).copied().unwrap_or(0);
        Ok(Frontier::of_lanes((0..lanes).map(end)))
    }
}
