//! Follows the log: reads what is there, folds it, commits it, shows it.

mod telemetry;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use flare_server_core::{
    clock::Clock,
    message_log::{MessageLog, ReadError},
    shutdown::Shutdown,
    telemetry::Spans,
};
use flare_storage_model::{Cursor, MessageStore, StoreError};

use crate::domain::fold::{FoldError, Input, Output, Step, WriterFold};

/// A long catch-up says how far it is so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// A store that cannot answer is asked again after this.
const RETRY_AFTER: Duration = Duration::from_millis(200);

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
        "the log of partition {partition} ends at offset {durable_end}, before the store's cursor {cursor}: restore the whole data folder from one backup"
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

/// What is told of each committed batch, in the log's order, after its commit.
pub trait CommitListener: Send + Sync {
    /// The batch is readable.
    fn committed(&self, step: &Step);
}

/// Applies one partition of the log to the store.
pub struct Follower {
    partition: u32,
    log: Arc<dyn MessageLog>,
    store: Arc<dyn MessageStore>,
    listener: Arc<dyn CommitListener>,
    clock: Arc<dyn Clock>,
    spans: Spans,
    fold: WriterFold,
    max_batch_bytes: usize,
}

impl Follower {
    /// Goes on from the store's cursor.
    pub async fn open(
        partition: u32,
        log: Arc<dyn MessageLog>,
        store: Arc<dyn MessageStore>,
        listener: Arc<dyn CommitListener>,
        clock: Arc<dyn Clock>,
        spans: Spans,
        max_batch_bytes: usize,
    ) -> Result<Self, FollowError> {
        let cursor = store.cursor(partition).await?;
        let durable_end = log.durable_end(partition).await?;
        if durable_end < cursor.next_offset {
            return Err(FollowError::LogEndsBeforeStore {
                partition,
                durable_end,
                cursor: cursor.next_offset,
            });
        }
        let fold = WriterFold::new(partition, cursor);
        Ok(Self {
            partition,
            log,
            store,
            listener,
            clock,
            spans,
            fold,
            max_batch_bytes,
        })
    }

    /// What is committed.
    pub fn cursor(&self) -> Cursor {
        self.fold.cursor()
    }

    /// Applies everything that the log had when it was called.
    pub async fn catch_up(&mut self) -> Result<(), FollowError> {
        let end = self.log.durable_end(self.partition).await?;
        let begin = self.cursor().next_offset;
        let mut said = Instant::now();
        while self.cursor().next_offset < end {
            self.advance().await?;
            if said.elapsed() >= PROGRESS_EVERY {
                said = Instant::now();
                let done = self.cursor().next_offset - begin;
                tracing::info!(
                    partition = self.partition,
                    done,
                    of = end - begin,
                    "applying the log to the store"
                );
            }
        }
        Ok(())
    }

    /// Follows until a drain; then applies what is there and ends.
    pub async fn follow(&mut self, shutdown: &Shutdown) -> Result<(), FollowError> {
        loop {
            let next = self.cursor().next_offset;
            match shutdown
                .or_drain(self.log.wait_beyond(self.partition, next))
                .await
            {
                Some(Ok(_)) => self.advance().await?,
                None | Some(Err(ReadError::Closed(_))) => return self.catch_up().await,
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Applies one read of the log.
    async fn advance(&mut self) -> Result<(), FollowError> {
        let read = self
            .log
            .read(
                self.partition,
                self.cursor().next_offset,
                self.max_batch_bytes,
            )
            .await?;
        let behind = read.durable_end - self.cursor().next_offset;
        metrics::gauge!("flare_storage_writer_lag_records").set(behind as f64);
        let mut output = self.fold.step(Input::Records(read.records))?;
        loop {
            output = match output {
                Output::Idle => return Ok(()),
                Output::ReadHeads(keys) => {
                    let heads = retried(|| self.store.heads(&keys)).await?;
                    self.fold.step(Input::Heads(heads))?
                }
                Output::Commit(step) => {
                    self.commit(&step).await?;
                    self.fold.step(Input::Committed)?
                }
            };
        }
    }

    async fn commit(&self, step: &Step) -> Result<(), FollowError> {
        let begun = Instant::now();
        retried(|| self.store.commit(Arc::clone(&step.batch))).await?;
        self.listener.committed(step);
        let took = begun.elapsed();
        telemetry::committed(&self.spans, &step.batch.events, took);
        metrics::histogram!("flare_storage_writer_commit_seconds").record(took.as_secs_f64());
        metrics::counter!("flare_storage_writer_events_total")
            .increment(step.batch.events.len() as u64);
        if let Some(last) = step.batch.events.last() {
            let late_ms = (self.clock.now_ms() - last.header().time_ms).max(0);
            metrics::gauge!("flare_storage_writer_lag_seconds").set(late_ms as f64 / 1_000.0);
        }
        for (offset, reason) in &step.skipped {
            metrics::counter!("flare_storage_writer_skipped_records_total", "reason" => reason.label()).increment(1);
            tracing::debug!(partition = self.partition, offset, %reason, "record passed over");
        }
        Ok(())
    }
}

/// Asks again while the store says that it may answer later: the follower has nothing else to do.
async fn retried<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "the store does not answer; asking again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
            done => return done,
        }
    }
}
