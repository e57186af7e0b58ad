//! Read positions and activity gather for up to a second, then are written at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::{error::Refusal, shutdown::Shutdown};
use flare_storage_model::ConversationKey;
use tokio::sync::Notify;

use super::{
    ports::PositionStore,
    position_buffer::{Full, PositionBuffer},
};
use crate::domain::{caller::UserKey, inbox::ReadPosition};

/// Read positions, and the last activity of conversations.
///
/// Where other processes serve the same users, nothing is shown that only one process knows: what a user marks is then [written at once](Self::at_once), and what
/// waits is not told. A position that was told never goes back, whoever is asked next.
pub struct Positions {
    store: Arc<dyn PositionStore>,
    buffer: Mutex<PositionBuffer>,
    gathered: Notify,
    /// One writes at a time.
    writer: tokio::sync::Mutex<()>,
    interval: Duration,
    /// Whether a position is written before whoever brings it is answered.
    is_at_once: bool,
    shutdown: Shutdown,
}

impl Positions {
    /// Gathers at most `max_keys` positions for at most about `interval`.
    pub fn new(
        store: Arc<dyn PositionStore>,
        max_keys: usize,
        interval: Duration,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            store,
            buffer: Mutex::new(PositionBuffer::new(max_keys)),
            gathered: Notify::new(),
            writer: tokio::sync::Mutex::new(()),
            interval,
            is_at_once: false,
            shutdown,
        }
    }

    /// Writes each position before it is answered: those that come while others are being written are written together.
    pub fn at_once(
        store: Arc<dyn PositionStore>,
        max_keys: usize,
        interval: Duration,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            is_at_once: true,
            ..Self::new(store, max_keys, interval, shutdown)
        }
    }

    /// Whether positions are shown only when they are written.
    pub const fn is_at_once(&self) -> bool {
        self.is_at_once
    }

    /// A user has read so far. RESOURCE_EXHAUSTED while too much waits to be written. Written before it returns if the process drains, or if that is how it is
    /// always done.
    pub async fn read(
        &self,
        key: &ConversationKey,
        user: &Arc<str>,
        position: ReadPosition,
    ) -> Result<(), Refusal> {
        let outcome = self.buffer().read(key, user, position);
        self.gathered(outcome).await
    }

    /// For the stream, which makes room where others are refused: conversations were active, and users have read what they sent.
    pub async fn from_stream(
        &self,
        reads: &[(ConversationKey, Arc<str>, ReadPosition)],
        activity: &[(ConversationKey, i64)],
    ) -> Result<(), Refusal> {
        let (mut reads_left, mut activity_left) = (reads, activity);
        loop {
            let full = {
                let mut buffer = self.buffer();
                while let Some(((key, user, position), rest)) = reads_left.split_first() {
                    if buffer.read(key, user, *position).is_err() {
                        break;
                    }
                    reads_left = rest;
                }
                while let Some(((key, time_ms), rest)) = activity_left.split_first() {
                    if buffer.active(key, *time_ms).is_err() {
                        break;
                    }
                    activity_left = rest;
                }
                !reads_left.is_empty() || !activity_left.is_empty()
            };
            if !full {
                break;
            }
            self.flush().await?;
        }
        self.gathered.notify_one();
        Ok(())
    }

    /// A user's read positions that are not in the store yet, by conversation.
    pub fn reads_of(&self, user: &UserKey) -> BTreeMap<Arc<str>, ReadPosition> {
        self.buffer().reads_of(user)
    }

    /// A user's read positions that may be shown though they are not in the store yet, by conversation.
    pub fn shown_of(&self, user: &UserKey) -> BTreeMap<Arc<str>, ReadPosition> {
        match self.is_at_once {
            true => BTreeMap::new(),
            false => self.reads_of(user),
        }
    }

    /// A user's read position that may be shown though it is not in the store yet.
    pub fn shown_in(&self, key: &ConversationKey, user: &Arc<str>) -> ReadPosition {
        if self.is_at_once {
            return ReadPosition::default();
        }
        let whose = UserKey {
            tenant: Arc::clone(&key.tenant),
            user: Arc::clone(user),
        };
        let read = self.buffer().read_of(&whose, &key.conversation);
        read.unwrap_or_default()
    }

    /// Times of last events that are not in the store yet, by conversation. Unix milliseconds.
    pub fn activity_of(
        &self,
        tenant: &Arc<str>,
        conversations: &[Arc<str>],
    ) -> HashMap<Arc<str>, i64> {
        let buffer = self.buffer();
        let waiting = |conversation: &Arc<str>| {
            let key = ConversationKey::new(Arc::clone(tenant), Arc::clone(conversation));
            buffer
                .activity_of(&key)
                .map(|time_ms| (Arc::clone(conversation), time_ms))
        };
        conversations.iter().filter_map(waiting).collect()
    }

    /// Writes what waits; it goes on waiting unless this ends well.
    pub async fn flush(&self) -> Result<(), Refusal> {
        let _turn = self.writer.lock().await;
        let batch = self.buffer().waiting();
        let rows = batch.reads.len() + batch.activity.len();
        if rows > 0 {
            self.store.put(&batch).await?;
            self.buffer().written(&batch);
            metrics::counter!("flare_session_positions_written_total").increment(rows as u64);
        }
        Ok(())
    }

    /// Writes when something gathers, then rests for the interval: the first position after a quiet time is written at once, others at
    /// most an interval later. Ends when the process drains: what still gathers then is written by whoever brings it.
    pub async fn run(&self) {
        let shutdown = &self.shutdown;
        while shutdown.or_drain(self.gathered.notified()).await.is_some() {
            if self.buffer().is_empty() {
                continue;
            }
            if let Err(refusal) = self.flush().await {
                tracing::warn!(%refusal, "positions were not written; they wait");
                self.gathered.notify_one();
            }
            shutdown.or_drain(tokio::time::sleep(self.interval)).await;
        }
    }

    async fn gathered(&self, outcome: Result<(), Full>) -> Result<(), Refusal> {
        self.gathered.notify_one();
        outcome.map_err(|full| self.exhausted(full))?;
        if self.is_at_once || self.shutdown.is_draining() {
            self.flush().await
        } else {
            Ok(())
        }
    }

    fn exhausted(&self, full: Full) -> Refusal {
        metrics::counter!("flare_session_limit_reached_total", "limit" => "waiting_positions")
            .increment(1);
        Refusal::new(ErrorCode::ResourceExhausted, full.to_string()).with_retry_after(self.interval)
    }

    fn buffer(&self) -> MutexGuard<'_, PositionBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
