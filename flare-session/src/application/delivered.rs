//! What devices have received: gathered, judged and written apart from all else, so that nobody waits for what they make up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::{error::Refusal, shutdown::Shutdown};
use flare_storage_model::ConversationKey;
use tokio::sync::Notify;

use super::{
    access::Access,
    delivered_buffer::{DeliveredBuffer, Full},
    heads::Heads,
    ports::{DeliveredUpdate, PositionBatch, PositionStore},
};

/// Positions of one transaction: others write between two of them.
const BATCH: usize = 1_000;

/// Delivered positions on their way into the store.
pub struct Delivered {
    store: Arc<dyn PositionStore>,
    access: Arc<Access>,
    heads: Arc<Heads>,
    buffer: Mutex<DeliveredBuffer>,
    gathered: Notify,
    /// One writes at a time.
    writer: tokio::sync::Mutex<()>,
    interval: Duration,
    /// Whether what waits is told: not where other processes, which do not know of it, are asked as well.
    tells_waiting: bool,
    shutdown: Shutdown,
}

impl Delivered {
    /// Gathers at most `max` positions for at most about `interval`, of which is told if it `tells_waiting`.
    pub fn new(
        store: Arc<dyn PositionStore>,
        access: Arc<Access>,
        heads: Arc<Heads>,
        max: usize,
        interval: Duration,
        tells_waiting: bool,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            store,
            access,
            heads,
            buffer: Mutex::new(DeliveredBuffer::new(max)),
            gathered: Notify::new(),
            writer: tokio::sync::Mutex::new(()),
            interval,
            tells_waiting,
            shutdown,
        }
    }

    /// Devices have received so far. Whether they may say so is judged when the positions are written. Written at once if the process drains.
    ///
    /// Answers which of them were not taken, because too many of their users wait. RESOURCE_EXHAUSTED while too many wait in all: what came
    /// before in the list was taken.
    pub async fn take(&self, updates: &[DeliveredUpdate]) -> Result<Vec<usize>, Refusal> {
        let (refused, is_full) = self.note(updates);
        self.gathered.notify_one();
        if !refused.is_empty() || is_full {
            metrics::counter!("flare_session_limit_reached_total", "limit" => "waiting_delivered")
                .increment(1);
        }
        if is_full {
            let message = "too many delivered positions wait to be written";
            return Err(
                Refusal::new(ErrorCode::ResourceExhausted, message).with_retry_after(self.interval)
            );
        }
        if self.shutdown.is_draining() {
            self.write().await?;
        }
        Ok(refused)
    }

    fn note(&self, updates: &[DeliveredUpdate]) -> (Vec<usize>, bool) {
        let mut buffer = self.buffer();
        let mut refused = Vec::new();
        for (index, update) in updates.iter().enumerate() {
            match buffer.note(update) {
                Ok(()) => {}
                Err(Full::User) => refused.push(index),
                Err(Full::All) => return (refused, true),
            }
        }
        (refused, false)
    }

    /// How far a user's devices have received, as far as it is not in the store yet and may be told: those beyond the newest event that memory knows of
    /// are not told before they are judged.
    pub fn waiting_of(&self, key: &ConversationKey, user: &Arc<str>) -> Vec<(Arc<str>, u64)> {
        if !self.tells_waiting {
            return Vec::new();
        }
        match self.heads.newest_seq(key) {
            Some(newest) => self.buffer().of(key, user, newest),
            None => Vec::new(),
        }
    }

    /// Judges and writes what waits. What cannot be judged or written goes on waiting; the error says why.
    pub async fn write(&self) -> Result<(), Refusal> {
        let _turn = self.writer.lock().await;
        let mut waiting = self.buffer().waiting();
        waiting.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let mut outcome = self.judge_by_heads(&mut waiting).await;
        for some in waiting.chunks(BATCH) {
            let (delivered, judged) = self.judge_by_rosters(some).await;
            outcome = outcome.and(judged);
            self.put(delivered).await?;
        }
        outcome
    }

    /// Writes when something gathers, then rests for the interval. Ends when the process drains: what gathers then is written by whoever
    /// brings it.
    pub async fn run(&self) {
        let shutdown = &self.shutdown;
        while shutdown.or_drain(self.gathered.notified()).await.is_some() {
            if let Err(refusal) = self.write().await {
                tracing::debug!(%refusal, "delivered positions wait");
                self.gathered.notify_one();
            }
            shutdown.or_drain(tokio::time::sleep(self.interval)).await;
        }
        if let Err(refusal) = self.write().await {
            tracing::warn!(%refusal, "delivered positions were not written: devices tell them again");
        }
    }

    async fn put(&self, delivered: Vec<DeliveredUpdate>) -> Result<(), Refusal> {
        if delivered.is_empty() {
            return Ok(());
        }
        let batch = PositionBatch {
            delivered,
            ..PositionBatch::default()
        };
        let gone = self.store.put(&batch).await?;
        self.buffer().done(&batch.delivered);
        metrics::counter!("flare_session_positions_written_total")
            .increment(batch.delivered.len() as u64);
        dropped("too_many_devices", gone);
        Ok(())
    }

    /// Drops positions beyond the head, and leaves those that are not. First of all, and of many conversations at once: what is made up
    /// mostly ends here.
    async fn judge_by_heads(&self, waiting: &mut Vec<DeliveredUpdate>) -> Result<(), Refusal> {
        let is_within = |it: &DeliveredUpdate, newest: Option<u64>| newest >= Some(it.seq);
        let mut behind: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
        for it in waiting.iter() {
            if !is_within(it, self.heads.newest_seq(&it.key)) {
                let asked = behind.entry(Arc::clone(&it.key.tenant)).or_default();
                asked.insert(Arc::clone(&it.key.conversation));
            }
        }
        let mut committed = HashMap::new();
        let mut outcome = Ok(());
        for (tenant, conversations) in behind {
            let conversations: Vec<_> = conversations.into_iter().collect();
            match self.heads.committed_seqs(&tenant, &conversations).await {
                Ok(seqs) => committed.extend(seqs.into_iter().map(|(conversation, seq)| {
                    (ConversationKey::new(Arc::clone(&tenant), conversation), seq)
                })),
                Err(refusal) => {
                    outcome = Err(refusal);
                    break;
                }
            }
        }
        let mut beyond = Vec::new();
        waiting.retain(|it| {
            let newest = self.heads.newest_seq(&it.key);
            let is_within = is_within(it, newest.max(committed.get(&it.key).copied()));
            if !is_within {
                beyond.push(it.clone());
            }
            is_within
        });
        // Where not all were asked for, those are not known to be beyond.
        if outcome.is_ok() {
            self.drop_all(&beyond, "beyond_head");
        }
        outcome
    }

    /// Drops positions of users who are no members, and answers the others. The positions are by conversation, of which each is asked for once.
    async fn judge_by_rosters(
        &self,
        positions: &[DeliveredUpdate],
    ) -> (Vec<DeliveredUpdate>, Result<(), Refusal>) {
        let (mut of_members, mut of_others) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for of_one in positions.chunk_by(|one, other| one.key == other.key) {
            let Some(first) = of_one.first() else {
                continue;
            };
            let users: HashSet<_> = of_one.iter().map(|it| Arc::clone(&it.user)).collect();
            let users: Vec<_> = users.into_iter().collect();
            match self.access.active_among(&first.key, &users).await {
                Ok(members) => {
                    for it in of_one {
                        if members.contains(&it.user) {
                            of_members.push(it.clone());
                        } else {
                            of_others.push(it.clone());
                        }
                    }
                }
                Err(refusal) => outcome = Err(refusal),
            }
        }
        self.drop_all(&of_others, "no_member");
        (of_members, outcome)
    }

    fn drop_all(&self, positions: &[DeliveredUpdate], reason: &'static str) {
        self.buffer().done(positions);
        dropped(reason, positions.len() as u64);
    }

    fn buffer(&self) -> MutexGuard<'_, DeliveredBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dropped(reason: &'static str, count: u64) {
    metrics::counter!("flare_session_positions_dropped_total", "reason" => reason).increment(count);
}
