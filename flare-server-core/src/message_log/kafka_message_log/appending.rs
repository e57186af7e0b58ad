//! Appends: one producer for all partitions.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord, Producer},
};

use super::{TOPIC, client::Watched, fitness::MAX_BATCH_BYTES};
use crate::{
    kafka::{KafkaConfig, MESSAGE_TIMEOUT_MS},
    log_file::MAX_RECORD_BYTES,
    message_log::AppendError,
};

/// Called once when the producer has failed for good, with what happened.
pub(super) type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What waits to be sent, in KiB: some records of the largest kind for each partition. Beyond, appends are refused.
const QUEUE_KIB: u32 = 128 << 10;
/// When trying again is worth it once the queue is full.
const RETRY_AFTER_MS: u64 = 100;
const WARM_UP: Duration = Duration::from_secs(10);

pub(super) struct Appender {
    producer: Arc<FutureProducer<Watched>>,
    topic: String,
    failed: OnceLock<()>,
    on_fatal: OnFatal,
}

impl Appender {
    /// Knows the partitions' leaders when it returns.
    pub(super) async fn open(kafka: &KafkaConfig, on_fatal: OnFatal) -> Result<Self, KafkaError> {
        let producer: FutureProducer<Watched> = kafka
            .client()
            .set("acks", "all")
            // An idempotent one keeps five requests in flight to a broker, one partition each.
            .set("enable.idempotence", "false")
            .set("max.in.flight.requests.per.connection", "1000")
            .set("linger.ms", "0")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            .set("message.max.bytes", MAX_BATCH_BYTES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            .create_with_context(Watched { client: "producer" })?;
        let producer = Arc::new(producer);
        let topic = kafka.named(TOPIC);
        tokio::task::spawn_blocking({
            let (producer, topic) = (Arc::clone(&producer), topic.clone());
            move || producer.client().fetch_metadata(Some(&topic), WARM_UP)
        })
        .await
        .unwrap_or(Err(KafkaError::Canceled))?;
        Ok(Self {
            producer,
            topic,
            failed: OnceLock::new(),
            on_fatal,
        })
    }

    /// The client that knows the partitions' leaders.
    pub(super) fn producer(&self) -> Arc<FutureProducer<Watched>> {
        Arc::clone(&self.producer)
    }

    /// The record's offset.
    pub(super) async fn append(&self, partition: u32, record: &[u8]) -> Result<u64, AppendError> {
        let begun = Instant::now();
        let appended = self.send(partition, record).await;
        let outcome = match &appended {
            Ok(_) => "kept",
            Err(AppendError::Unknown { .. }) => "unknown",
            Err(_) => "refused",
        };
        metrics::counter!("flare_message_log_appends_total", "outcome" => outcome).increment(1);
        metrics::histogram!("flare_message_log_append_seconds")
            .record(begun.elapsed().as_secs_f64());
        appended
    }

    async fn send(&self, partition: u32, record: &[u8]) -> Result<u64, AppendError> {
        if self.failed.get().is_some() {
            return Err(AppendError::Closed(partition));
        }
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let sent = self
            .producer
            .send_result::<(), [u8]>(
                FutureRecord::to(&self.topic)
                    .partition(number)
                    .payload(record),
            )
            .map_err(|(error, _)| self.refused(partition, record.len(), &error))?;
        let reason = match sent.await {
            Ok(Ok(delivery)) => match u64::try_from(delivery.offset) {
                Ok(offset) => return Ok(offset),
                Err(_) => "acknowledged without an offset".to_owned(),
            },
            Ok(Err((error, _))) => error.to_string(),
            Err(_) => "the producer has ended".to_owned(),
        };
        self.notice_failure();
        Err(AppendError::Unknown { partition, reason })
    }

    /// The record did not get into the producer's queue.
    fn refused(&self, partition: u32, bytes: usize, error: &KafkaError) -> AppendError {
        self.notice_failure();
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => AppendError::NoRoom {
                partition,
                retry_after_ms: RETRY_AFTER_MS,
            },
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                AppendError::TooLarge {
                    partition,
                    bytes,
                    limit: MAX_RECORD_BYTES,
                }
            }
            error => AppendError::Unknown {
                partition,
                reason: error.to_string(),
            },
        }
    }

    fn notice_failure(&self) {
        if let Some((code, reason)) = self.producer.client().fatal_error()
            && self.failed.set(()).is_ok()
        {
            (self.on_fatal)(&format!(
                "the message log's producer has failed for good: {code}: {reason}"
            ));
        }
    }
}
