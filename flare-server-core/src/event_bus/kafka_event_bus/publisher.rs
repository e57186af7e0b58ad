//! Records on their way to Kafka.
//!
//! The order per key rests on one thing: after a record that was not kept, or perhaps not, no later one of its batch is sent. The library's
//! idempotent producer sees to that where a broker refuses (`enable.gapless.guarantee`), but not where records wait too long: it gives up each
//! by its own time, so that the first of a batch may be lost and the second, a microsecond younger, be sent. So its own limit is out of reach,
//! and the time is kept here: when a batch is overdue, or any record failed, the whole client is given up with all that it has, and a new one
//! is made. What the old one had sent may still land. It lands in its order, and can only double what its publisher, who was told that the
//! outcome is unknown, sends again from there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::lane::Topic;
use super::report::{Batch, Reports};
use crate::event_bus::PublishError;

/// Records that wait take at most so much memory, in KiB.
const ROOM_KIB: usize = 64 << 10;
/// What a record takes beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 256;
/// So long a publish waits for room.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);
/// The largest key and payload together: what the client and a topic's default take, less what a record grows by.
const RECORD_BYTES: usize = 960_000;
/// What a record grows by at most when it becomes a dead letter.
const DEAD_LETTER_BYTES: usize = 1_280;
/// How often a client is looked after.
const TICK: Duration = Duration::from_millis(50);
/// A client that fails at once is not made anew more often.
const RENEW_EVERY: Duration = Duration::from_secs(1);

/// Publishes through one client at a time.
pub(super) struct Publisher {
    config: ClientConfig,
    current: Arc<Mutex<Current>>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Current {
    line: Option<Arc<Line>>,
    made: Option<Instant>,
    closed: bool,
}

/// One client and what it has.
struct Line {
    producer: BaseProducer<Reports>,
    /// Held while a batch is handed over, and while the line is given up: so no batch is handed over to a line that is, not even a part of it.
    gate: Mutex<Gate>,
    ended: CancellationToken,
}

#[derive(Default)]
struct Gate {
    given_up: bool,
    /// Batches that may have records on their way, the oldest first, and when they are overdue.
    sent: VecDeque<(Instant, Weak<Batch>)>,
}

/// Why a topic cannot be used.
pub(super) enum Lookup {
    Missing,
    Failed(String),
}

impl Publisher {
    /// Makes the client, which begins to look for its brokers.
    pub(super) fn new(mut config: ClientConfig) -> KafkaResult<Self> {
        config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("allow.auto.create.topics", "false")
            .set("linger.ms", "0")
            .set(
                "request.timeout.ms",
                crate::kafka::SOCKET_TIMEOUT_MS.to_string(),
            )
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            // The time and the room are kept here.
            .set("message.timeout.ms", "300000")
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151");
        let publisher = Self {
            config,
            current: Arc::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
        };
        let line = publisher.begin()?;
        let mut current = lock(&publisher.current);
        current.made = Some(Instant::now());
        current.line = Some(line);
        drop(current);
        Ok(publisher)
    }

    /// How many lanes a topic has. Blocks on the network.
    pub(super) fn lanes_of(&self, kafka_topic: &str, patience: Duration) -> Result<u32, Lookup> {
        let line = self.line().map_err(Lookup::Failed)?;
        let found = line
            .producer
            .client()
            .fetch_metadata(Some(kafka_topic), patience);
        let found = found.map_err(|error| Lookup::Failed(error.to_string()))?;
        let Some(topic) = found
            .topics()
            .iter()
            .find(|topic| topic.name() == kafka_topic)
        else {
            return Err(Lookup::Missing);
        };
        match topic.error() {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Err(Lookup::Missing),
            Some(error) => Err(Lookup::Failed(RDKafkaErrorCode::from(error).to_string())),
            None if topic.partitions().is_empty() => Err(Lookup::Missing),
            None => Ok(topic.partitions().len() as u32),
        }
    }

    /// Returns when the records are durable, or at the deadline at the latest.
    pub(super) async fn publish(
        &self,
        topic: &Topic,
        records: &[(Bytes, Bytes)],
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let limit = match topic.name.strip_suffix(".dlq") {
            Some(_) => RECORD_BYTES + DEAD_LETTER_BYTES,
            None => RECORD_BYTES,
        };
        let bytes = |(key, payload): &(Bytes, Bytes)| key.len() + payload.len();
        if let Some(bytes) = records.iter().map(bytes).find(|bytes| *bytes > limit) {
            return Err(PublishError::TooLarge {
                topic: topic.name.clone(),
                bytes,
                limit,
            });
        }
        let all: usize = records
            .iter()
            .map(|record| bytes(record) + RECORD_OVERHEAD_BYTES)
            .sum();
        let kib = all.div_ceil(1 << 10).min(ROOM_KIB) as u32;
        let room = self.room.clone().acquire_many_owned(kib);
        let no_room = || PublishError::NoRoom {
            topic: topic.name.clone(),
            retry_after_ms: ROOM_PATIENCE.as_millis() as u64,
        };
        let Ok(Ok(room)) = tokio::time::timeout(ROOM_PATIENCE, room).await else {
            return Err(no_room());
        };
        let (batch, verdict) = Batch::new(records.len(), room);
        self.hand_over(topic, records, batch, deadline)
            .map_err(|reason| PublishError::Failed {
                topic: topic.name.clone(),
                reason,
            })?;
        let reason = match tokio::time::timeout_at(deadline.into(), verdict).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_)) => "the client of Kafka ended".to_owned(),
            Err(_) => "Kafka did not answer in time".to_owned(),
        };
        metrics::counter!("flare_event_bus_publishes_unknown_total", "topic" => topic.name.clone())
            .increment(1);
        Err(PublishError::Unknown {
            topic: topic.name.clone(),
            reason,
        })
    }

    /// Ends when the records on their way are reported or overdue.
    pub(super) async fn close(&self) {
        let line = {
            let mut current = lock(&self.current);
            current.closed = true;
            current.line.take()
        };
        let Some(ended) = line.map(|line| line.ended.clone()) else {
            return;
        };
        ended.cancelled().await;
    }

    /// An error means that nothing was sent.
    fn hand_over(
        &self,
        topic: &Topic,
        records: &[(Bytes, Bytes)],
        batch: Arc<Batch>,
        deadline: Instant,
    ) -> Result<(), String> {
        let line = self.line()?;
        let mut gate = lock(&line.gate);
        if gate.given_up || line.producer.context().any_failed() {
            return Err("the connection was given up just now".to_owned());
        }
        for (index, (key, payload)) in records.iter().enumerate() {
            let record = BaseRecord::with_opaque_to(&topic.kafka_name, batch.clone())
                .partition(topic.lane_of(key))
                .key(&key[..])
                .payload(&payload[..]);
            if let Err((error, _)) = line.producer.send(record) {
                if index == 0 {
                    return Err(error.to_string());
                }
                batch.failed(records.len() - index, error.to_string());
                break;
            }
        }
        gate.sent.push_back((deadline, Arc::downgrade(&batch)));
        Ok(())
    }

    /// The client in use, a new one if the last was given up.
    fn line(&self) -> Result<Arc<Line>, String> {
        let mut current = lock(&self.current);
        if current.closed {
            return Err("the bus is closed".to_owned());
        }
        if let Some(line) = &current.line {
            return Ok(line.clone());
        }
        if current
            .made
            .is_some_and(|made| made.elapsed() < RENEW_EVERY)
        {
            return Err("the connection was given up just now".to_owned());
        }
        let line = self.begin().map_err(|error| error.to_string())?;
        current.made = Some(Instant::now());
        current.line = Some(line.clone());
        Ok(line)
    }

    fn begin(&self) -> KafkaResult<Arc<Line>> {
        let line = Arc::new(Line {
            producer: self.config.create_with_context(Reports::default())?,
            gate: Mutex::default(),
            ended: CancellationToken::new(),
        });
        let (attended, current) = (line.clone(), self.current.clone());
        let attending = thread::Builder::new().name("kafka-publish".to_owned());
        attending
            .spawn(move || attend(attended, &current))
            .map_err(|error| rdkafka::error::KafkaError::ClientCreation(error.to_string()))?;
        Ok(line)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut current = lock(&self.current);
        current.closed = true;
        current.line = None;
    }
}

/// Passes reports on until the line is given up, or not needed any more and empty.
fn attend(line: Arc<Line>, current: &Mutex<Current>) {
    loop {
        line.producer.poll(TICK);
        let mut gate = lock(&line.gate);
        while gate
            .sent
            .front()
            .is_some_and(|(_, batch)| batch.strong_count() == 0)
        {
            gate.sent.pop_front();
        }
        let overdue = gate
            .sent
            .front()
            .is_some_and(|(deadline, _)| *deadline <= Instant::now());
        if overdue
            || line.producer.context().any_failed()
            || line.producer.client().fatal_error().is_some()
        {
            gate.given_up = true;
            // Without waiting: a thread of the library may be held up by a name server.
            line.producer
                .purge(PurgeConfig::default().queue().inflight().non_blocking());
            break;
        }
        if gate.sent.is_empty() && !is_current(&line, current) {
            gate.given_up = true;
            break;
        }
    }
    while line.producer.in_flight_count() > 0 {
        line.producer.poll(TICK);
    }
    let mut now = lock(current);
    if now.line.as_ref().is_some_and(|it| Arc::ptr_eq(it, &line)) {
        tracing::warn!(
            "a client of Kafka was given up: records on their way were not kept in time, or were refused"
        );
        now.line = None;
    }
    drop(now);
    // Whoever looked it up just now lets go of it soon. Its end blocks, which is for this thread.
    while Arc::strong_count(&line) > 1 {
        thread::park_timeout(TICK);
    }
    line.ended.cancel();
}

fn is_current(line: &Arc<Line>, current: &Mutex<Current>) -> bool {
    lock(current)
        .line
        .as_ref()
        .is_some_and(|it| Arc::ptr_eq(it, line))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
