//! Gives back to the log what nobody will ask for again.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use flare_server_core::service::ServiceError;
use tokio::sync::Notify;

use super::{around::Around, publish::Publishing};

/// Knows up to where consumers of the stream are done with the log.
#[async_trait]
pub trait Consumed: Send + Sync {
    /// The first offset of the partition that the stream still needs; none: it needs nothing.
    ///
    /// # Errors
    /// Nobody knows now.
    async fn needed_from(&self, partition: u32) -> Result<Option<u64>, ServiceError>;

    /// The log may begin later from now on.
    ///
    /// # Errors
    /// Nobody knows now where.
    async fn trimmed(&self, partition: u32) -> Result<(), ServiceError>;
}

/// Trims the partitions that this process works on.
pub struct Trimmer {
    around: Arc<Around>,
    consumed: Arc<dyn Consumed>,
    interval: Duration,
    moved: Mutex<BTreeSet<u32>>,
    notify: Notify,
}

impl Trimmer {
    /// Looks at most once an `interval`.
    pub fn new(around: Arc<Around>, consumed: Arc<dyn Consumed>, interval: Duration) -> Self {
        Self {
            around,
            consumed,
            interval,
            moved: Mutex::default(),
            notify: Notify::new(),
        }
    }

    /// Something was committed.
    pub(super) fn moved(&self, partition: u32) {
        self.moved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition);
        self.notify.notify_one();
    }

    /// Looks after commits; an idle log has no timer. Never ends.
    pub async fn run(&self) {
        loop {
            self.notify.notified().await;
            let begun = Instant::now();
            let moved =
                std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner));
            for partition in moved {
                if let Err(error) = self.trim(partition).await {
                    tracing::warn!(partition, %error, "the log was not trimmed; trying again after later commits");
                }
            }
            tokio::time::sleep(self.interval.saturating_sub(begun.elapsed())).await;
        }
    }

    async fn trim(&self, partition: u32) -> Result<(), ServiceError> {
        let (log, store) = (&self.around.log, &self.around.store);
        let stored = store.synced_cursor(partition).await?.next_offset;
        let needed = self.consumed.needed_from(partition).await?;
        let released = needed.map_or(stored, |needed| stored.min(needed));
        log.trim(partition, released, stored).await?;
        self.consumed.trimmed(partition).await
    }
}

/// The log is needed from where each partition is saved as published: from there it is published again after a crash.
#[async_trait]
impl Consumed for Publishing {
    async fn needed_from(&self, partition: u32) -> Result<Option<u64>, ServiceError> {
        // What nobody here has loaded is not known to be published.
        let saved = self.published.saved(partition);
        Ok(Some(saved.map_or(0, |it| it.next_offset)))
    }

    async fn trimmed(&self, _: u32) -> Result<(), ServiceError> {
        Ok(())
    }
}
