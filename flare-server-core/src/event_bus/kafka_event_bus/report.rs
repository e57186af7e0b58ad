//! What Kafka says about the records of a batch.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A client that cannot reach its brokers says so at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A batch on its way. It lives until the last of its records is reported, whether or not somebody still waits for it.
pub(super) struct Batch {
    left: AtomicUsize,
    failure: Mutex<Option<String>>,
    done: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
    /// Others wait for the room that it takes.
    _room: OwnedSemaphorePermit,
}

impl Batch {
    /// A batch of so many records, and where the verdict comes.
    pub(super) fn new(
        records: usize,
        room: OwnedSemaphorePermit,
    ) -> (Arc<Self>, oneshot::Receiver<Result<(), String>>) {
        let (done, verdict) = oneshot::channel();
        let batch = Self {
            left: AtomicUsize::new(records),
            failure: Mutex::default(),
            done: Mutex::new(Some(done)),
            _room: room,
        };
        (Arc::new(batch), verdict)
    }

    /// One record is kept.
    fn kept(&self) {
        self.settle(1);
    }

    /// So many records may not be kept, or are not even sent.
    pub(super) fn failed(&self, records: usize, reason: String) {
        lock(&self.failure).get_or_insert(reason);
        self.settle(records);
    }

    fn settle(&self, records: usize) {
        if self.left.fetch_sub(records, SeqCst) > records {
            return;
        }
        let verdict = lock(&self.failure).take().map_or(Ok(()), Err);
        if let Some(done) = lock(&self.done).take() {
            // Nobody may be waiting any more.
            drop(done.send(verdict));
        }
    }
}

/// Passes reports on to their batches.
#[derive(Default)]
pub(super) struct Reports {
    failed: AtomicBool,
    voice: Voice,
}

impl Reports {
    /// Whether a record was not kept, or perhaps not.
    pub(super) fn any_failed(&self) -> bool {
        self.failed.load(SeqCst)
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.say(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, report: &DeliveryResult<'_>, batch: Arc<Batch>) {
        match report {
            Ok(_) => batch.kept(),
            Err((error, _)) => {
                self.failed.store(true, SeqCst);
                batch.failed(1, error.to_string());
            }
        }
    }
}

/// Tells what a client complains of, and not all the time.
#[derive(Default)]
pub(super) struct Voice(Mutex<Option<Instant>>);

impl Voice {
    pub(super) fn say(&self, error: &KafkaError, reason: &str) {
        let mut last = lock(&self.0);
        if last.is_none_or(|last| last.elapsed() > SAY_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(%error, reason, "Kafka does not answer as it should");
        }
    }
}

/// For clients of which nothing else is asked.
#[derive(Default)]
pub(super) struct Quiet(Voice);

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.say(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn batch(
        records: usize,
        room: &Arc<Semaphore>,
    ) -> (Arc<Batch>, oneshot::Receiver<Result<(), String>>) {
        Batch::new(
            records,
            room.clone().try_acquire_owned().expect("there is room"),
        )
    }

    #[test]
    fn a_batch_is_kept_when_each_of_its_records_is() {
        let room = Arc::new(Semaphore::new(1));
        let (batch, mut verdict) = batch(2, &room);
        batch.kept();
        assert!(verdict.try_recv().is_err());
        batch.kept();
        assert_eq!(verdict.try_recv(), Ok(Ok(())));
        assert_eq!(room.available_permits(), 0);
        drop(batch);
        assert_eq!(room.available_permits(), 1);
    }

    #[test]
    fn a_batch_fails_with_the_first_reason_once_all_is_reported() {
        let (batch, mut verdict) = batch(4, &Arc::new(Semaphore::new(1)));
        batch.failed(1, "first".to_owned());
        batch.kept();
        assert!(verdict.try_recv().is_err());
        batch.failed(2, "second".to_owned());
        assert_eq!(verdict.try_recv(), Ok(Err("first".to_owned())));
    }
}
