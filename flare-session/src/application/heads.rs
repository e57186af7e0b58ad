//! Heads: from memory where they moved of late, else from storage-reader.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_server_core::{error::Refusal, event_bus::Frontier};
use flare_storage_model::ConversationKey;

use super::ports::{StorageReader, StoredHead, StoredHeads};
use crate::domain::{
    head::{Head, StreamEvent},
    recent_heads::RecentHeads,
};

/// How many conversations storage-reader is asked for at once.
const HEADS_A_CALL: usize = 200;
/// When to ask again if the store lags behind the stream.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the memory of heads reaches, taken together: it knows of all moves from the horizon to the frontier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which positions these are.
    pub epoch: u64,
    /// Where what it knows begins.
    pub horizon: Frontier,
    /// What was taken in.
    pub frontier: Frontier,
}

impl Remembered {
    /// Whether it knows what moved since a mark of this frontier.
    pub fn reaches(&self, epoch: u64, frontier: &Frontier) -> bool {
        epoch == self.epoch && frontier.includes(&self.horizon) && self.frontier.includes(frontier)
    }
}

/// Heads of conversations.
pub struct Heads {
    recent: Mutex<RecentHeads>,
    reader: Arc<dyn StorageReader>,
}

impl Heads {
    /// Heads over memory that begins empty.
    pub fn new(recent: RecentHeads, reader: Arc<dyn StorageReader>) -> Self {
        Self {
            recent: Mutex::new(recent),
            reader,
        }
    }

    /// Takes events of the stream in, in their order, and counts the moves.
    pub fn observe(&self, events: &[StreamEvent]) {
        let mut recent = self.recent();
        let taken = events
            .iter()
            .filter(|event| {
                let position = recent.count();
                recent.observe(event, position)
            })
            .count();
        show(&recent, taken, events.len() - taken);
    }

    /// What comes by in the stream begins here: nothing is known of what moved before.
    pub fn begin_anew(&self, at: &Frontier) {
        self.recent().begin_anew(at);
    }

    /// Takes what stands in the stream in, by its positions; None: no event.
    pub fn follow(&self, records: &[(u64, Option<StreamEvent>)]) {
        let mut recent = self.recent();
        let (mut taken, mut repeated) = (0, 0);
        for (position, event) in records {
            match event {
                Some(event) if recent.observe(event, *position) => taken += 1,
                Some(_) => repeated += 1,
                None => {}
            }
            recent.pass(*position);
        }
        show(&recent, taken, repeated);
    }

    /// What is told of the conversation beside its events has changed, and is in the store.
    pub fn touch(&self, key: &ConversationKey) {
        self.recent().touch(key);
    }

    /// Where the memory stands.
    pub fn stream(&self) -> Remembered {
        let recent = self.recent();
        Remembered {
            epoch: recent.epoch(),
            horizon: recent.horizon().clone(),
            frontier: recent.frontier().clone(),
        }
    }

    /// Which of these conversations moved since the frontier; None if that is not known any more.
    pub fn moved_since<'a>(
        &self,
        tenant: &Arc<str>,
        conversations: &'a [Arc<str>],
        frontier: &Frontier,
    ) -> Option<Vec<&'a Arc<str>>> {
        let recent = self.recent();
        if !frontier.includes(recent.horizon()) {
            return None;
        }
        let moved = |it: &&Arc<str>| recent.moved_since(&key(tenant, it), frontier);
        Some(conversations.iter().filter(moved).collect())
    }

    /// Heads with their last messages whole, of as many of these conversations as one answer of storage-reader brings beside what is in memory:
    /// of the first at least. A conversation without committed events has the empty head.
    pub async fn whole(
        &self,
        tenant: &Arc<str>,
        conversations: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Head>, Refusal> {
        let mut heads = HashMap::with_capacity(conversations.len());
        let mut missing = Vec::new();
        {
            let recent = self.recent();
            for id in conversations {
                let whole = |head: &&Head| {
                    head.last_message
                        .as_ref()
                        .is_none_or(|it| it.encoded.is_some())
                };
                match recent.get(&key(tenant, id)).filter(whole) {
                    Some(head) => drop(heads.insert(Arc::clone(id), head.clone())),
                    None => missing.push(Arc::clone(id)),
                }
            }
        }
        missing.truncate(HEADS_A_CALL);
        if missing.is_empty() {
            return Ok(heads);
        }
        let known: Vec<_> = {
            let recent = self.recent();
            let newest = |id| recent.newest(&key(tenant, id)).map_or(0, |(seq, _)| seq);
            missing.iter().map(newest).collect()
        };
        let mut stored = self.ask(tenant, &missing).await?;
        for (id, known) in missing.iter().zip(known).take(stored.answered) {
            let head = stored.heads.remove(id).map(|it| it.head);
            let head = head.unwrap_or_default();
            if head.seq < known {
                // An event that came by is in the store: this answer is of a store that lags behind.
                let message = format!(
                    "the store's head of {id} is {}, the stream is at {known}",
                    head.seq
                );
                return Err(Refusal::unavailable(message, RETRY_AFTER));
            }
            heads.insert(Arc::clone(id), head);
        }
        Ok(heads)
    }

    /// A head that is at `seq` or beyond if the conversation is: memory is asked first, then the store. The last message may lack its bytes.
    pub async fn reaching(&self, key: &ConversationKey, seq: u64) -> Result<Head, Refusal> {
        if let Some(head) = self.recent().get(key).filter(|it| it.seq >= seq) {
            return Ok(head.clone());
        }
        self.committed(key)
            .await
            .map(|it| it.map(|it| it.head).unwrap_or_default())
    }

    /// The seq of the newest event that memory knows of the conversation.
    pub fn newest_seq(&self, key: &ConversationKey) -> Option<u64> {
        self.recent().newest(key).map(|(seq, _)| seq)
    }

    /// The ordinal at a seq near the head, if memory knows it.
    pub fn ordinal_at(&self, key: &ConversationKey, seq: u64) -> Option<u64> {
        self.recent().ordinal_at(key, seq)
    }

    /// The head in the store, with a direct conversation's users; None: it has no events.
    pub async fn committed(&self, key: &ConversationKey) -> Result<Option<StoredHead>, Refusal> {
        let stored = self
            .ask(&key.tenant, std::slice::from_ref(&key.conversation))
            .await?;
        Ok(stored.heads.into_values().next())
    }

    /// The seqs of the newest committed events of several conversations; what has none is left out.
    pub async fn committed_seqs(
        &self,
        tenant: &Arc<str>,
        conversations: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, u64>, Refusal> {
        let mut seqs = HashMap::with_capacity(conversations.len());
        for chunk in conversations.chunks(HEADS_A_CALL) {
            seqs.extend(self.reader.head_seqs(tenant, chunk).await?);
        }
        Ok(seqs)
    }

    async fn ask(
        &self,
        tenant: &Arc<str>,
        conversations: &[Arc<str>],
    ) -> Result<StoredHeads, Refusal> {
        let stored = self.reader.heads(tenant, conversations).await?;
        let mut recent = self.recent();
        for (id, stored) in &stored.heads {
            recent.fill(&key(tenant, id), &stored.head);
        }
        drop(recent);
        Ok(stored)
    }

    fn recent(&self) -> MutexGuard<'_, RecentHeads> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(tenant: &Arc<str>, conversation: &Arc<str>) -> ConversationKey {
    ConversationKey::new(Arc::clone(tenant), Arc::clone(conversation))
}

fn show(recent: &RecentHeads, taken: usize, repeated: usize) {
    metrics::counter!("flare_session_events_total", "outcome" => "taken").increment(taken as u64);
    if repeated > 0 {
        metrics::counter!("flare_session_events_total", "outcome" => "repeated")
            .increment(repeated as u64);
    }
    metrics::gauge!("flare_session_recent_heads").set(recent.len() as f64);
}
