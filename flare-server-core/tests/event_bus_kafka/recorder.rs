//! A handler that takes notes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::{BatchHandler, BusRecord, EventBus, Handled};
use tokio::sync::watch;

use crate::kafka::{DEADLINE, TOPIC};

type Answer = dyn Fn(&[BusRecord]) -> Handled + Send + Sync;

/// Notes what it gets and how often it was told that this changed; it answers as many batches as it may.
pub(crate) struct Recorder {
    pub(crate) batches: watch::Sender<Vec<Vec<BusRecord>>>,
    pub(crate) told: watch::Sender<usize>,
    allowed: watch::Sender<usize>,
    answer: Box<Answer>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Self::answering(|_| Handled::Ok)
    }

    pub(crate) fn answering(
        answer: impl Fn(&[BusRecord]) -> Handled + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            batches: watch::Sender::default(),
            told: watch::Sender::default(),
            allowed: watch::Sender::new(usize::MAX),
            answer: Box::new(answer),
        })
    }

    /// From here on it answers no batch but the first `count`.
    pub(crate) fn allow(&self, count: usize) {
        self.allowed.send_replace(count);
    }

    /// It answers all.
    pub(crate) fn release(&self) {
        self.allow(usize::MAX);
    }

    pub(crate) fn seen(&self) -> Vec<BusRecord> {
        self.batches.borrow().concat()
    }

    /// The payloads that came, as numbers.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.seen().iter().map(number).collect()
    }

    /// Waits until so many records came.
    pub(crate) async fn reaches(&self, count: usize) {
        becomes(&self.batches, |batches| batches.concat().len() >= count).await;
    }
}

#[async_trait]
impl BatchHandler for Recorder {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        self.batches
            .send_modify(|batches| batches.push(batch.to_vec()));
        let count = self.batches.borrow().len();
        drop(
            self.allowed
                .subscribe()
                .wait_for(|allowed| *allowed >= count)
                .await,
        );
        (self.answer)(batch)
    }

    async fn reassigned(&self) {
        self.told.send_modify(|told| *told += 1);
    }
}

pub(crate) fn number(record: &BusRecord) -> u64 {
    u64::from_le_bytes(record.payload[..].try_into().expect("a number"))
}

/// Publishes numbers, each by itself, over so many keys.
pub(crate) async fn publish(bus: &dyn EventBus, numbers: std::ops::Range<u64>, keys: u64) {
    for number in numbers {
        let key = Bytes::from((number % keys).to_le_bytes().to_vec());
        let payload = Bytes::from(number.to_le_bytes().to_vec());
        bus.publish(TOPIC, key, payload).await.unwrap();
    }
}

pub(crate) async fn becomes<T>(value: &watch::Sender<T>, is: impl FnMut(&T) -> bool) {
    let mut value = value.subscribe();
    let became = tokio::time::timeout(DEADLINE, value.wait_for(is)).await;
    drop(became.expect("it comes in time").unwrap());
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}
