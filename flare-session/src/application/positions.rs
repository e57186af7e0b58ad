//! Positions gather for up to a second, then are written at once.

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
    access::Access,
    heads::Heads,
    ports::{DeliveredUpdate, PositionBatch, PositionStore, StoreError},
    position_buffer::{Full, PositionBuffer},
};
use crate::domain::{caller::UserKey, inbox::ReadPosition};

/// Read and delivered positions, and the last activity of conversations.
pub struct Positions {
    store: Arc<dyn PositionStore>,
    access: Arc<Access>,
    heads: Arc<Heads>,
    buffer: Mutex<PositionBuffer>,
    gathered: Notify,
    /// One writes at a time.
    writer: tokio::sync::Mutex<()>,
    interval: Duration,
    shutdown: Shutdown,
}

impl Positions {
    /// Gathers at most `max_keys` positions for at most about `interval`.
    pub fn new(
        store: Arc<dyn PositionStore>,
        access: Arc<Access>,
        heads: Arc<Heads>,
        max_keys: usize,
        interval: Duration,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            store,
            access,
            heads,
            buffer: Mutex::new(PositionBuffer::new(max_keys)),
            gathered: Notify::new(),
            writer: tokio::sync::Mutex::new(()),
            interval,
            shutdown,
        }
    }

    /// A user has read so far. RESOURCE_EXHAUSTED while too much waits to be written. Written at once if the process drains.
    pub async fn read(
        &self,
        key: &ConversationKey,
        user: &Arc<str>,
        position: ReadPosition,
    ) -> Result<(), Refusal> {
        let outcome = self.buffer().read(key, user, position);
        self.gathered(outcome).await
    }

    /// Devices have received so far. Whether they may say so is judged when the positions are written. RESOURCE_EXHAUSTED while too much waits to be
    /// written: what came before in the list was taken. Written at once if the process drains.
    pub async fn delivered(&self, updates: &[DeliveredUpdate]) -> Result<(), Refusal> {
        let outcome = {
            let mut buffer = self.buffer();
            updates
                .iter()
                .try_for_each(|it| buffer.delivered(&it.key, &it.user, &it.device, it.seq))
        };
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

    /// A user's read position, and those that his devices have received, that are not in the store yet.
    pub fn waiting_of(
        &self,
        key: &ConversationKey,
        user: &Arc<str>,
    ) -> (ReadPosition, BTreeMap<Arc<str>, u64>) {
        let whose = UserKey {
            tenant: Arc::clone(&key.tenant),
            user: Arc::clone(user),
        };
        let buffer = self.buffer();
        (
            buffer
                .read_of(&whose, &key.conversation)
                .unwrap_or_default(),
            buffer.delivered_of(key, user),
        )
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

    /// Writes what waits. On an error it waits again. So do delivered positions that cannot be judged because storage-reader does not answer:
    /// the others are written without them.
    pub async fn flush(&self) -> Result<(), Refusal> {
        let _turn = self.writer.lock().await;
        let mut batch = self.buffer().take();
        let mut deferred = Vec::new();
        if let Err(refusal) = self.keep_what_may_be(&mut batch.delivered).await {
            tracing::debug!(%refusal, "delivered positions wait until they can be judged");
            deferred = std::mem::take(&mut batch.delivered);
        }
        let outcome = self.write(&batch).await.map_err(Refusal::from);
        let mut buffer = self.buffer();
        match &outcome {
            Ok(()) => {
                buffer.written();
                // There mostly is room: they were taken out of it.
                for it in &deferred {
                    if buffer
                        .delivered(&it.key, &it.user, &it.device, it.seq)
                        .is_err()
                    {
                        dropped("no_room");
                    }
                }
                if !deferred.is_empty() {
                    self.gathered.notify_one();
                }
            }
            Err(_) => buffer.failed(),
        }
        outcome
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

    async fn write(&self, batch: &PositionBatch) -> Result<(), StoreError> {
        let rows = batch.reads.len() + batch.delivered.len() + batch.activity.len();
        if rows == 0 {
            return Ok(());
        }
        self.store.put(batch).await?;
        metrics::counter!("flare_session_positions_written_total").increment(rows as u64);
        Ok(())
    }

    /// Drops delivered positions of users who are no members, or beyond the head.
    async fn keep_what_may_be(&self, delivered: &mut Vec<DeliveredUpdate>) -> Result<(), Refusal> {
        let mut kept = Vec::with_capacity(delivered.len());
        let mut behind: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        for update in delivered.iter() {
            let roster = self.access.roster(&update.key).await?;
            if !roster.is_some_and(|it| it.members.contains_key(&update.user)) {
                dropped("no_member");
                continue;
            }
            if self
                .heads
                .newest_seq(&update.key)
                .is_none_or(|newest| newest < update.seq)
            {
                let asked = behind.entry(Arc::clone(&update.key.tenant)).or_default();
                if !asked.contains(&update.key.conversation) {
                    asked.push(Arc::clone(&update.key.conversation));
                }
            }
            kept.push(update.clone());
        }
        let mut committed = HashMap::new();
        for (tenant, conversations) in behind {
            for (conversation, seq) in self.heads.committed_seqs(&tenant, &conversations).await? {
                committed.insert(ConversationKey::new(Arc::clone(&tenant), conversation), seq);
            }
        }
        kept.retain(|update| {
            let newest = self
                .heads
                .newest_seq(&update.key)
                .max(committed.get(&update.key).copied());
            let good = newest.is_some_and(|newest| update.seq <= newest);
            if !good {
                dropped("beyond_head");
            }
            good
        });
        *delivered = kept;
        Ok(())
    }

    async fn gathered(&self, outcome: Result<(), Full>) -> Result<(), Refusal> {
        self.gathered.notify_one();
        outcome.map_err(|full| self.exhausted(full))?;
        if self.shutdown.is_draining() {
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

fn dropped(reason: &'static str) {
    metrics::counter!("flare_session_positions_dropped_total", "reason" => reason).increment(1);
}
