//! Follows the log: reads what is there, folds it, commits it, shows it.

mod telemetry;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use flare_server_core::message_log::ReadError;
use flare_storage_model::{Cursor, StoreError};
use tokio_util::sync::CancellationToken;

use super::around::Around;
use crate::domain::fold::{FoldError, Input, Output, Step, WriterFold};

/// A long catch-up says how far it is so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Why a partition stopped.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The store refused for good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not make sense.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The store holds more than the log: the log was lost or replaced.
    #[error(
        "the log of partition {partition} ends at offset {durable_end}, before the store's cursor {cursor}"
    )]
    LogEndsBeforeStore {
        /// Which.
        partition: u32,
        /// The log's end.
        durable_end: u64,
        /// What the store has.
        cursor: u64,
    },
}

/// What is told of each batch that is committed, in the log's order, after its commit.
#[async_trait]
pub trait CommitListener: Send + Sync {
    /// The batch is readable. The next one is committed when this returns.
    async fn committed(&self, step: &Step);
}

/// Applies one partition of the log to the store.
pub struct Follower {
    partition: u32,
    around: Arc<Around>,
    listener: Arc<dyn CommitListener>,
    fold: WriterFold,
}

impl Follower {
    /// Goes on from the store's cursor, or from `published` if that is below: then what lies between is told of first, once more.
    ///
    /// # Errors
    /// If the log ends before the store.
    pub async fn open(
        partition: u32,
        around: Arc<Around>,
        listener: Arc<dyn CommitListener>,
        published: Option<Cursor>,
    ) -> Result<Self, FollowError> {
        let stored = around.of_store(|| around.store.cursor(partition)).await?;
        let durable_end = around.of_log(|| around.log.durable_end(partition)).await?;
        if durable_end < stored.next_offset {
            return Err(FollowError::LogEndsBeforeStore {
                partition,
                durable_end,
                cursor: stored.next_offset,
            });
        }
        // A store that was restored may be below: then all above it is new to it, and published again.
        let from = published
            .filter(|it| it.next_offset < stored.next_offset)
            .unwrap_or(stored);
        let fold = WriterFold::resuming(partition, from, stored);
        Ok(Self {
            partition,
            around,
            listener,
            fold,
        })
    }

    /// What is committed and was told of.
    pub fn cursor(&self) -> Cursor {
        self.fold.cursor()
    }

    /// Applies everything that the log had when it was called.
    ///
    /// # Errors
    /// The partition has to stop: this must not be used again.
    pub async fn catch_up(&mut self) -> Result<(), FollowError> {
        let (log, partition) = (&self.around.log, self.partition);
        let end = self.around.of_log(|| log.durable_end(partition)).await?;
        let begin = self.cursor().next_offset;
        let mut said = Instant::now();
        while self.cursor().next_offset < end {
            self.advance().await?;
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let done = self.cursor().next_offset - begin;
                let of = end - begin;
                tracing::info!(partition, done, of, "applying the log to the store");
            }
        }
        Ok(())
    }

    /// Follows until told to stop, between two batches, or until the log is closed.
    ///
    /// # Errors
    /// The partition has to stop: this must not be used again.
    pub async fn follow(&mut self, stop: &CancellationToken) -> Result<(), FollowError> {
        loop {
            let next = self.cursor().next_offset;
            let waited = self.around.beyond(self.partition, next);
            match stop.run_until_cancelled(waited).await {
                Some(Ok(Some(end))) => {
                    self.around.lag.noticed(self.partition, next, end);
                    self.advance().await?;
                }
                Some(Ok(None)) => {}
                None | Some(Err(ReadError::Closed(_))) => return Ok(()),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Applies one read of the log.
    async fn advance(&mut self) -> Result<(), FollowError> {
        let around = Arc::clone(&self.around);
        let (partition, from) = (self.partition, self.cursor().next_offset);
        let max_bytes = around.share.batch_bytes();
        self.fold.keep_heads(around.share.kept_heads());
        let read = around
            .of_log(|| around.log.read(partition, from, max_bytes))
            .await?;
        around.lag.noticed(partition, from, read.durable_end);
        let mut output = self.fold.step(Input::Records(read.records))?;
        loop {
            output = match output {
                Output::Idle => break,
                Output::ReadHeads(keys) => {
                    let heads = around.of_store(|| around.store.heads(&keys)).await?;
                    let stored = around.of_store(|| around.store.cursor(partition)).await?;
                    self.fold.step(Input::Heads { heads, stored })?
                }
                Output::Commit(step) => {
                    self.commit(&step).await?;
                    self.listener.committed(&step).await;
                    self.fold.step(Input::Committed)?
                }
                Output::Stored(step) => {
                    self.listener.committed(&step).await;
                    break;
                }
            };
        }
        let next = self.cursor().next_offset;
        around.lag.noticed(partition, next, read.durable_end);
        Ok(())
    }

    async fn commit(&self, step: &Step) -> Result<(), FollowError> {
        let (around, events) = (&self.around, &step.batch.events);
        if let Some(first) = events.first() {
            around.lag.oldest(self.partition, first.header().time_ms);
        }
        let begun = Instant::now();
        around
            .of_store(|| around.store.commit(Arc::clone(&step.batch)))
            .await?;
        telemetry::committed(&around.spans, step, begun.elapsed());
        if let Some(last) = events.last() {
            around.lag.oldest(self.partition, last.header().time_ms);
        }
        Ok(())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.around.lag.gone(self.partition);
    }
}
