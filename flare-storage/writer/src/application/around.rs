//! What all partitions of a process share: log and store, patience with them, and a share of its memory each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flare_server_core::{
    clock::Clock,
    message_log::{MessageLog, ReadError},
    telemetry::Spans,
};
use flare_storage_model::{MessageStore, StoreError};

use super::{
    lag::Lag,
    outages::{Of, Outages},
};
use crate::domain::fold::KEPT_HEADS;

/// Batches of a partition that are in hand at the same time: one is published, the next waits for it, the third is committed.
const BATCHES_IN_HAND: usize = 3;
/// A log that cannot be read says so by then.
const ERRORS_WITHIN: Duration = Duration::from_secs(1);
/// Few heads are better read again than many kept.
const LEAST_HEADS: usize = 1_024;

/// What all partitions of a process share.
pub struct Around {
    /// The log that is followed.
    pub log: Arc<dyn MessageLog>,
    /// What it is applied to.
    pub store: Arc<dyn MessageStore>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Of sampled traces.
    pub spans: Spans,
    /// What does not answer now.
    pub outages: Outages,
    /// How far the store is behind the log.
    pub lag: Lag,
    /// The memory of the partitions.
    pub share: Share,
}

impl Around {
    /// Around these.
    pub fn new(
        log: Arc<dyn MessageLog>,
        store: Arc<dyn MessageStore>,
        clock: Arc<dyn Clock>,
        spans: Spans,
        share: Share,
    ) -> Self {
        Self {
            lag: Lag::new(Arc::clone(&clock)),
            log,
            store,
            clock,
            spans,
            outages: Outages::default(),
            share,
        }
    }

    /// Asks the log, again and again while it cannot be read at the moment. The log of one process is a file: what cannot be read of it once ends the
    /// process.
    pub(super) async fn of_log<T, F>(&self, call: impl FnMut() -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<T, ReadError>>,
    {
        let is_shared = self.log.is_shared();
        let may_pass =
            |error: &ReadError| is_shared && matches!(error, ReadError::Unavailable { .. });
        self.outages.patiently(Of::Log, may_pass, call).await
    }

    /// Waits for records beyond those below `offset`. None: there are none yet, and the log answers again.
    pub(super) async fn beyond(
        &self,
        partition: u32,
        offset: u64,
    ) -> Result<Option<u64>, ReadError> {
        let mut is_first = true;
        let wait = || {
            let wait = self.log.wait_beyond(partition, offset);
            let may_take_long = std::mem::replace(&mut is_first, false);
            async move {
                if may_take_long {
                    return wait.await.map(Some);
                }
                // Without an error by then it does what it should.
                let waited = tokio::time::timeout(ERRORS_WITHIN, wait).await;
                waited.map_or(Ok(None), |it| it.map(Some))
            }
        };
        self.of_log(wait).await
    }

    /// Asks the store, again and again while it says that it may answer later.
    pub(super) async fn of_store<T, F>(&self, call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.outages
            .patiently(Of::Store, StoreError::is_retryable, call)
            .await
    }
}

/// What each partition may have of the process's memory: the more there are, the less each.
pub struct Share {
    max_batch_bytes: usize,
    max_held_bytes: usize,
    partitions: AtomicUsize,
}

impl Share {
    /// Of `max_held_bytes`, and not more than `max_batch_bytes` in one batch.
    pub fn new(max_batch_bytes: usize, max_held_bytes: usize) -> Self {
        Self {
            max_batch_bytes,
            max_held_bytes,
            partitions: AtomicUsize::new(1),
        }
    }

    /// Says among how many it is shared.
    pub(super) fn among(&self, partitions: usize) {
        self.partitions.store(partitions.max(1), Ordering::Relaxed);
    }

    /// Bytes that one read of the log may have, if it is more than one record.
    pub(super) fn batch_bytes(&self) -> usize {
        let partitions = self.partitions.load(Ordering::Relaxed);
        (self.max_held_bytes / partitions / BATCHES_IN_HAND).min(self.max_batch_bytes)
    }

    /// Heads that a partition may keep between batches.
    pub(super) fn kept_heads(&self) -> usize {
        let partitions = self.partitions.load(Ordering::Relaxed);
        // Together about twice what a single one keeps.
        (2 * KEPT_HEADS / partitions).clamp(LEAST_HEADS, KEPT_HEADS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_partitions_there_are_the_less_has_each() {
        let share = Share::new(4 << 20, 64 << 20);
        assert_eq!(share.batch_bytes(), 4 << 20);
        assert_eq!(share.kept_heads(), KEPT_HEADS);
        share.among(64);
        assert_eq!(share.batch_bytes(), (1 << 20) / 3);
        assert_eq!(share.kept_heads(), 2 * KEPT_HEADS / 64);
        share.among(0);
        assert_eq!(share.batch_bytes(), 4 << 20);
    }
}
