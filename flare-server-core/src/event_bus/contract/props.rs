//! What the tests are played with: a handler that takes notes, and a view.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::{key, text};
use crate::error::Refusal;
use crate::event_bus::{
    BatchHandler, BusRecord, Follower, Frontier, Handled, TopicView, ViewError, ViewRead,
};

/// A handler that notes what it gets, and answers as told, then with [`Handled::Ok`].
pub(super) struct Recorder {
    answers: Mutex<VecDeque<Handled>>,
    batches: watch::Sender<Vec<Vec<BusRecord>>>,
    /// Whether it answers at all.
    answering: watch::Sender<bool>,
    /// Whether it can write what it has handled.
    flushes: bool,
    /// After how many batches it was told that its records have changed.
    told_after: Mutex<Vec<usize>>,
}

impl Recorder {
    pub(super) fn new(answers: impl IntoIterator<Item = Handled>) -> Arc<Self> {
        Arc::new(Self::made(answers, true))
    }

    /// One that cannot write what it has handled.
    pub(super) fn without_flush() -> Arc<Self> {
        Arc::new(Self::made([], false))
    }

    fn made(answers: impl IntoIterator<Item = Handled>, flushes: bool) -> Self {
        Self {
            answers: Mutex::new(answers.into_iter().collect()),
            batches: watch::Sender::new(Vec::new()),
            answering: watch::Sender::new(true),
            flushes,
            told_after: Mutex::default(),
        }
    }

    /// One that does not answer before it is released.
    pub(super) fn stuck() -> Arc<Self> {
        let recorder = Self::new([]);
        recorder.answering.send_replace(false);
        recorder
    }

    pub(super) fn release(&self) {
        self.answering.send_replace(true);
    }

    pub(super) fn batches(&self) -> Vec<Vec<BusRecord>> {
        self.batches.borrow().clone()
    }

    pub(super) fn told_after(&self) -> Vec<usize> {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Vec<usize>> {
        self.told_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn until(
        &self,
        mut enough: impl FnMut(&[BusRecord]) -> bool,
    ) -> Vec<BusRecord> {
        let mut batches = self.batches.subscribe();
        loop {
            let seen = batches.borrow_and_update().concat();
            if enough(&seen) {
                return seen;
            }
            // The sender lives as long as `self`.
            drop(batches.changed().await);
        }
    }

    /// What came, once it is so many records.
    pub(super) async fn seen(&self, count: usize) -> Vec<BusRecord> {
        self.until(|seen| seen.len() >= count).await
    }

    /// What came, once it ends with this payload.
    pub(super) async fn seen_last(&self, payload: Bytes) -> Vec<BusRecord> {
        self.until(|seen| seen.last().is_some_and(|last| last.payload == payload))
            .await
    }

    /// The batch of this index, once it has come.
    pub(super) async fn batch(&self, index: usize) -> Vec<BusRecord> {
        let mut batches = self.batches.subscribe();
        let come = batches.wait_for(|batches| batches.len() > index).await;
        come.map_or_else(|_| Vec::new(), |batches| batches[index].clone())
    }
}

#[async_trait]
impl BatchHandler for Recorder {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        self.batches
            .send_modify(|batches| batches.push(batch.to_vec()));
        drop(
            self.answering
                .subscribe()
                .wait_for(|answering| *answering)
                .await,
        );
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.pop_front().unwrap_or(Handled::Ok)
    }

    async fn flush(&self) -> Result<(), Refusal> {
        if self.flushes {
            return Ok(());
        }
        Err(Refusal::unavailable(
            "it cannot write",
            Duration::from_millis(1),
        ))
    }

    async fn reassigned(&self) {
        self.told().push(self.batches.borrow().len());
    }
}

/// A follower that notes what it gets.
#[derive(Default)]
pub(super) struct Notes(Mutex<(Vec<Frontier>, Vec<BusRecord>)>);

impl Notes {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Where it began, each time.
    pub(super) fn begun(&self) -> Vec<Frontier> {
        self.notes().0.clone()
    }

    pub(super) fn seen(&self) -> Vec<BusRecord> {
        self.notes().1.clone()
    }

    fn notes(&self) -> MutexGuard<'_, (Vec<Frontier>, Vec<BusRecord>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Notes {
    fn begins(&self, at: &Frontier) {
        self.notes().0.push(at.clone());
    }

    fn take(&self, records: &[BusRecord]) {
        self.notes().1.extend_from_slice(records);
    }
}

/// Record `i` at position `10 * i + 5`, and nothing at the positions between.
pub(super) struct SparseView(watch::Sender<u64>);

impl SparseView {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    pub(super) fn extend(&self, count: u64) {
        self.0.send_modify(|records| *records += count);
    }
}

#[async_trait]
impl TopicView for SparseView {
    async fn read(&self, from: u64, max_records: usize) -> Result<ViewRead, ViewError> {
        let first = from.saturating_add(4) / 10;
        let last = (*self.0.borrow()).min(first.saturating_add(max_records as u64));
        let record = |index| BusRecord {
            key: key(),
            payload: text(index),
            position: 10 * index + 5,
        };
        let records: Vec<_> = (first..last).map(record).collect();
        let next = if last == *self.0.borrow() {
            self.end()
        } else {
            10 * last
        };
        Ok(ViewRead {
            records,
            next: next.max(from),
        })
    }

    fn floor(&self) -> u64 {
        0
    }

    fn end(&self) -> u64 {
        10 * *self.0.borrow()
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), ViewError> {
        let mut records = self.0.subscribe();
        let reached = records.wait_for(|records| 10 * records > position).await;
        reached.map(|_| ()).map_err(|_| ViewError::Closed)
    }
}
