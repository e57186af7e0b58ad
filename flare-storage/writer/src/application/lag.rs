//! How far the store is behind the log, over all partitions of the process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flare_server_core::{clock::Clock, message_log::MessageLog};
use futures::future::join_all;
use tokio::sync::Notify;

/// While something is behind, it is looked how far so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far the store is behind the log. A partition is in it while it is behind; an idle process has no timer.
pub struct Lag {
    clock: Arc<dyn Clock>,
    behind: Mutex<BTreeMap<u32, Behind>>,
    begun: Notify,
}

/// What a partition has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The first record that the store does not have.
    pub next_offset: u64,
    /// The offset after the log's last record, when it was last seen.
    pub end: u64,
    /// The oldest event that the store does not have is not older: its time, where it was read, else when its record was noticed. Unix milliseconds.
    pub oldest_ms: i64,
}

impl Lag {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            behind: Mutex::default(),
            begun: Notify::new(),
        }
    }

    /// There are records from `next_offset` to `end` that the store does not have.
    pub(super) fn noticed(&self, partition: u32, next_offset: u64, end: u64) {
        if next_offset >= end {
            return self.gone(partition);
        }
        let now_ms = self.clock.now_ms();
        let mut behind = self.lock();
        let it = behind.entry(partition).or_insert(Behind {
            next_offset,
            end,
            oldest_ms: now_ms,
        });
        it.next_offset = next_offset;
        it.end = it.end.max(end);
        drop(behind);
        self.begun.notify_one();
    }

    /// The next event is of this time: it was read, or follows one that was committed.
    pub(super) fn oldest(&self, partition: u32, time_ms: i64) {
        if let Some(it) = self.lock().get_mut(&partition) {
            it.oldest_ms = time_ms;
        }
    }

    /// Nothing is known to be behind, or somebody else sees to it.
    pub(super) fn gone(&self, partition: u32) {
        self.lock().remove(&partition);
    }

    /// What is behind, by partition.
    pub fn behind(&self) -> BTreeMap<u32, Behind> {
        self.lock().clone()
    }

    /// Keeps the metrics true. Never ends.
    pub async fn show(&self, log: &dyn MessageLog) {
        self.set();
        loop {
            self.begun.notified().await;
            while !self.behind().is_empty() {
                self.look(log).await;
                self.set();
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.set();
        }
    }

    /// A partition that stands still does not look itself. The log may be what it waits for: then the last look stands.
    async fn look(&self, log: &dyn MessageLog) {
        let behind = self.behind();
        let looks = behind.keys().map(|partition| async move {
            let end = tokio::time::timeout(LOOK_EVERY, log.durable_end(*partition)).await;
            Some((*partition, end.ok()?.ok()?))
        });
        let ends = join_all(looks).await;
        let mut behind = self.lock();
        for (partition, end) in ends.into_iter().flatten() {
            if let Some(it) = behind.get_mut(&partition) {
                it.end = it.end.max(end);
            }
        }
    }

    fn set(&self) {
        let behind = self.behind();
        let records: u64 = behind
            .values()
            .map(|it| it.end.saturating_sub(it.next_offset))
            .sum();
        let oldest_ms = behind.values().map(|it| it.oldest_ms).min();
        let age_ms = oldest_ms.map_or(0, |it| (self.clock.now_ms() - it).max(0));
        metrics::gauge!("flare_storage_writer_lag_records").set(records as f64);
        metrics::gauge!("flare_storage_writer_lag_seconds").set(age_ms as f64 / 1_000.0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Behind>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use flare_server_core::clock::ManualClock;

    use super::*;

    #[test]
    fn what_is_behind_is_so_since_it_was_noticed_or_as_its_event_says() {
        let clock = Arc::new(ManualClock::at(5_000));
        let lag = Lag::new(clock);
        lag.noticed(3, 10, 20);
        let noticed = Behind {
            next_offset: 10,
            end: 20,
            oldest_ms: 5_000,
        };
        assert_eq!(lag.behind(), [(3, noticed)].into());
        lag.oldest(3, 4_000);
        lag.noticed(3, 15, 18);
        let later = Behind {
            next_offset: 15,
            end: 20,
            oldest_ms: 4_000,
        };
        assert_eq!(lag.behind(), [(3, later)].into());
        lag.noticed(3, 20, 20);
        assert!(lag.behind().is_empty());
    }
}
