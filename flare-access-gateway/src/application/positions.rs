//! Gathers what devices acknowledge, and stores it now and then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::ports::PositionStore;
use crate::domain::{Identity, positions::Positions};

/// Positions in one call.
const BATCH: usize = 1_000;

/// What is gathered.
pub struct PositionGatherer {
    store: Arc<dyn PositionStore>,
    positions: Mutex<Positions>,
    begun: Notify,
    every: Duration,
}

impl PositionGatherer {
    /// Holds at most `max`, and stores them `every` so often.
    pub fn new(store: Arc<dyn PositionStore>, max: usize, every: Duration) -> Self {
        Self {
            store,
            positions: Mutex::new(Positions::new(max)),
            begun: Notify::new(),
            every,
        }
    }

    /// Takes what a device acknowledges.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: too many wait; what comes before the refused one was taken.
    pub fn note<'a>(
        &self,
        identity: &Arc<Identity>,
        acknowledged: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<(), Refusal> {
        let mut positions = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let was_empty = positions.is_empty();
        for (conversation, seq) in acknowledged {
            positions
                .note(identity, conversation, seq)
                .map_err(|error| {
                    Refusal::new(ErrorCode::ResourceExhausted, error.to_string())
                        .with_field("positions")
                        .with_retry_after(self.every)
                })?;
        }
        if was_empty {
            self.begun.notify_one();
        }
        Ok(())
    }

    /// Stores what is gathered until `closed`, and then what is left.
    pub async fn run(&self, closed: CancellationToken) {
        loop {
            let begun = async {
                self.begun.notified().await;
                sleep(self.every).await;
            };
            let ends = closed.run_until_cancelled(begun).await.is_none();
            self.store().await;
            if ends {
                return;
            }
        }
    }

    async fn store(&self) {
        let taken = self
            .positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut batches = taken.chunks(BATCH);
        while let Some(batch) = batches.next() {
            let Err(refusal) = self.store.put(batch).await else {
                continue;
            };
            let left = batch.iter().chain(batches.by_ref().flatten());
            let mut positions = self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let lost = left
                .filter(|it| {
                    positions
                        .note(&it.identity, &it.conversation, it.seq)
                        .is_err()
                })
                .count();
            drop(positions);
            metrics::counter!("flare_access_gateway_positions_lost_total").increment(lost as u64);
            tracing::warn!(%refusal, lost, "positions were not stored; trying again");
            self.begun.notify_one();
            return;
        }
    }
}
