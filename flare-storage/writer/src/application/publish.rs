//! Publishes what is committed of one partition.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::{EventBus, PublishError};
use flare_storage_model::{LoggedEvent, StoreBatch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    follow::CommitListener,
    outages::{Of, Outages, publishing_may_pass},
    published::Published,
};
use crate::domain::fold::Step;

/// The public stream of persisted events.
pub const PERSISTED_TOPIC: &str = "flare.im.message.persisted";

/// A partition that ends leaves to whoever comes next what is not published by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// Key and payload of an event in the stream: its conversation, and the encoded event.
pub fn entry(event: &LoggedEvent) -> (Bytes, Bytes) {
    let key = Bytes::from(event.key().to_string());
    (key, event.event().clone())
}

/// What all partitions publish with.
pub struct Publishing {
    /// Where to.
    pub bus: Arc<dyn EventBus>,
    /// How far.
    pub published: Published,
}

/// Publishes a partition's batches in their order, one at a time, while the next is committed.
///
/// In the stream a conversation's events come in the order of their seqs, but for repetitions: each publisher goes through the valid log without a gap from
/// a cursor below which everything is published, and repeats a batch of which it does not know whether it arrived. So whatever stands in the stream, before
/// the first time that seq n stands there, n - 1 does. That is true of any number of publishers of one partition at the same time, and of one that was stopped
/// in the middle of a batch and goes on hours later: what it still sends repeats what others went through, and consumers drop it (seq ≤ last).
pub(super) struct Publisher {
    pub(super) partition: u32,
    pub(super) publishing: Arc<Publishing>,
    pub(super) batches: mpsc::Receiver<Arc<StoreBatch>>,
}

/// Gives batches to a partition's publisher: one may wait there.
pub(super) struct Committed(mpsc::Sender<Arc<StoreBatch>>);

impl Publisher {
    pub(super) fn new(partition: u32, publishing: Arc<Publishing>) -> (Self, Committed) {
        let (sender, batches) = mpsc::channel(1);
        let publisher = Self {
            partition,
            publishing,
            batches,
        };
        (publisher, Committed(sender))
    }

    /// Publishes until no more batches come; once `ending`, it takes a little time for what is left. Then keeps how far it came.
    ///
    /// # Errors
    /// The bus will not take this batch, ever: the partition has to stop.
    pub(super) async fn run(
        mut self,
        outages: &Outages,
        ending: &CancellationToken,
    ) -> Result<(), PublishError> {
        let given_up = pin!(async {
            ending.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        });
        let outcome = tokio::select! {
            outcome = self.publish_all(outages) => outcome,
            () = given_up => Ok(()),
        };
        let kept = self.publishing.published.keep_now(self.partition);
        // If it cannot be kept, whoever comes next repeats a little more.
        drop(tokio::time::timeout(PATIENCE, kept).await);
        outcome
    }

    async fn publish_all(&mut self, outages: &Outages) -> Result<(), PublishError> {
        while let Some(batch) = self.batches.recv().await {
            if !batch.events.is_empty() {
                self.publish(outages, &batch).await?;
            }
            self.publishing.published.moved(self.partition, batch.to);
        }
        Ok(())
    }

    async fn publish(&self, outages: &Outages, batch: &StoreBatch) -> Result<(), PublishError> {
        let begun = Instant::now();
        let publish = || {
            let records = batch.events.iter().map(entry).collect();
            self.publishing.bus.publish_batch(PERSISTED_TOPIC, records)
        };
        outages
            .patiently(Of::Bus, publishing_may_pass, publish)
            .await?;
        let took = begun.elapsed().as_secs_f64();
        metrics::histogram!("flare_storage_writer_publish_seconds").record(took);
        metrics::counter!("flare_storage_writer_published_total")
            .increment(batch.events.len() as u64);
        Ok(())
    }
}

#[async_trait]
impl CommitListener for Committed {
    async fn committed(&self, step: &Step) {
        // The publisher is gone only when the partition ends: whoever comes next publishes it.
        drop(self.0.send(Arc::clone(&step.batch)).await);
    }
}
