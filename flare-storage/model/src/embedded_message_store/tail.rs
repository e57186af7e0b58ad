//! What is committed and not yet in fjall, in memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use ulid::Ulid;

use crate::{
    apply::LogState, client_id_key::ClientIdKey, conversation_key::ConversationKey, head::Head,
    logged_event::LoggedEvent, message_store::StoreBatch,
};

/// A batch with what its events are found by.
pub(super) struct TailBatch {
    pub(super) batch: Arc<StoreBatch>,
    /// One per event.
    pub(super) client_ids: Vec<Option<ClientIdKey>>,
    /// The size of the events.
    pub(super) bytes: usize,
}

/// Where an event stands in the tail.
#[derive(Clone, Copy)]
struct Place {
    batch_no: u64,
    index: usize,
}

struct TailConversation {
    head: Head,
    /// By rising seq, without a hole, up to the head.
    events: VecDeque<Place>,
    /// Message → the recall, for recalls in the tail.
    recalls: BTreeMap<u64, u64>,
}

/// The conversation's events from `first_seq` to the head are in the tail, all below in fjall.
pub(super) struct TailView<T> {
    pub(super) first_seq: u64,
    pub(super) found: T,
}

/// A page as far as the tail tells it: messages by rising seq, and the recalls of messages on either side.
#[derive(Default)]
pub(super) struct TailMessages {
    pub(super) messages: Vec<(u64, Bytes)>,
    pub(super) recalls: BTreeMap<u64, u64>,
}

/// Batches by age. What a conversation has in it is always a run that ends at the head, so a reader who looks here first, then in fjall
/// for what lies below, sees no gap and nothing twice, whatever moves over in between.
#[derive(Default)]
pub(super) struct Tail {
    batches: VecDeque<Arc<TailBatch>>,
    /// The number of the first batch; batches are numbered from 0 as they are committed.
    first_no: u64,
    conversations: HashMap<ConversationKey, TailConversation>,
    ids: HashMap<ClientIdKey, Place>,
    /// Heads of conversations that left the tail, whose row in fjall may be behind.
    unwritten_heads: HashMap<ConversationKey, Head>,
    cursors: HashMap<u32, LogState>,
    events: usize,
    bytes: usize,
}

impl Tail {
    /// An empty tail with room for the ids of `events` events, so that the table never has to grow while readers wait.
    pub(super) fn new(cursors: HashMap<u32, LogState>, events: usize) -> Self {
        Self {
            cursors,
            ids: HashMap::with_capacity(events),
            ..Self::default()
        }
    }

    pub(super) fn cursor(&self, partition: u32) -> LogState {
        self.cursors.get(&partition).copied().unwrap_or_default()
    }

    /// Events and bytes that wait for fjall.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    /// The number that the next batch gets.
    pub(super) fn next_no(&self) -> u64 {
        self.first_no + self.batches.len() as u64
    }

    /// Adds a batch of new events. The caller has checked that they follow.
    pub(super) fn push(&mut self, batch: TailBatch) {
        let batch_no = self.next_no();
        for (index, event) in batch.batch.events.iter().enumerate() {
            let place = Place { batch_no, index };
            let conversation = match self.conversations.get_mut(event.key()) {
                Some(conversation) => conversation,
                None => self
                    .conversations
                    .entry(event.key().clone())
                    .or_insert_with(|| TailConversation {
                        head: Head::default(),
                        events: VecDeque::new(),
                        recalls: BTreeMap::new(),
                    }),
            };
            conversation.events.push_back(place);
            if let Some(target) = event.recalls() {
                conversation.recalls.insert(target, event.seq());
            }
            if let Some(Some(client_id)) = batch.client_ids.get(index) {
                self.ids.insert(*client_id, place);
            }
        }
        for (key, head) in &batch.batch.heads {
            if let Some(conversation) = self.conversations.get_mut(key) {
                conversation.head.clone_from(head);
                self.unwritten_heads.remove(key);
            }
        }
        self.cursors.insert(batch.batch.partition, batch.batch.to);
        self.events += batch.batch.events.len();
        self.bytes += batch.bytes;
        self.batches.push_back(Arc::new(batch));
    }

    /// The oldest batches, up to about `events` or `bytes`, one at least if there is any.
    pub(super) fn oldest(&self, events: usize, bytes: usize) -> Vec<Arc<TailBatch>> {
        let mut chunk = Vec::new();
        let (mut some_events, mut some_bytes) = (0, 0);
        for batch in &self.batches {
            chunk.push(Arc::clone(batch));
            some_events += batch.batch.events.len();
            some_bytes += batch.bytes;
            if some_events >= events || some_bytes >= bytes {
                break;
            }
        }
        chunk
    }

    /// Forgets the oldest batches, which fjall has. `heads` are those after the last of their events.
    pub(super) fn forget(&mut self, count: usize, heads: HashMap<ConversationKey, Head>) {
        for _ in 0..count {
            let Some(batch) = self.batches.pop_front() else {
                return;
            };
            let batch_no = self.first_no;
            self.first_no += 1;
            self.events -= batch.batch.events.len();
            self.bytes -= batch.bytes;
            for (index, event) in batch.batch.events.iter().enumerate() {
                if let Some(conversation) = self.conversations.get_mut(event.key()) {
                    conversation.events.pop_front();
                    if let Some(target) = event.recalls()
                        && conversation.recalls.get(&target) == Some(&event.seq())
                    {
                        conversation.recalls.remove(&target);
                    }
                }
                if let Some(Some(client_id)) = batch.client_ids.get(index)
                    && self
                        .ids
                        .get(client_id)
                        .is_some_and(|place| place.batch_no == batch_no)
                {
                    self.ids.remove(client_id);
                }
            }
        }
        for (key, head) in heads {
            if self
                .conversations
                .get(&key)
                .is_some_and(|it| it.events.is_empty())
            {
                self.conversations.remove(&key);
                self.unwritten_heads.insert(key, head);
            }
        }
    }

    /// Heads whose rows are to be written. They are of events that fjall has.
    pub(super) fn unwritten_heads(&self) -> Vec<(ConversationKey, Head)> {
        self.unwritten_heads
            .iter()
            .map(|(key, head)| (key.clone(), head.clone()))
            .collect()
    }

    pub(super) fn unwritten_head_count(&self) -> usize {
        self.unwritten_heads.len()
    }

    /// Forgets heads whose rows were written, unless they have moved on.
    pub(super) fn forget_heads(&mut self, written: &[(ConversationKey, Head)]) {
        for (key, head) in written {
            if self
                .unwritten_heads
                .get(key)
                .is_some_and(|it| it.seq == head.seq)
            {
                self.unwritten_heads.remove(key);
            }
        }
    }

    /// The head, if it is known without fjall.
    pub(super) fn head(&self, key: &ConversationKey) -> Option<&Head> {
        let in_tail = self.conversations.get(key).map(|it| &it.head);
        in_tail.or_else(|| self.unwritten_heads.get(key))
    }

    pub(super) fn event_of_id(&self, client_id: &ClientIdKey) -> Option<&LoggedEvent> {
        self.at(*self.ids.get(client_id)?)
    }

    pub(super) fn event(&self, key: &ConversationKey, seq: u64) -> Option<&LoggedEvent> {
        let conversation = self.conversations.get(key)?;
        let index = seq.checked_sub(self.first_seq(conversation)?)?;
        self.at(*conversation.events.get(usize::try_from(index).ok()?)?)
    }

    /// Where the conversation's part of the tail begins.
    pub(super) fn first_seq_of(&self, key: &ConversationKey) -> Option<u64> {
        self.first_seq(self.conversations.get(key)?)
    }

    /// Looks through all of the tail: for the rare question only.
    pub(super) fn locate(&self, id: Ulid) -> Option<(ConversationKey, u64)> {
        let mut events = self.batches.iter().flat_map(|it| &it.batch.events);
        events
            .find(|it| it.message_id() == id)
            .map(|it| (it.key().clone(), it.seq()))
    }

    /// Events above `after_seq`, at most `limit` and `max_bytes` but one at least.
    pub(super) fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Option<TailView<Vec<(u64, Bytes)>>> {
        let conversation = self.conversations.get(key)?;
        let first_seq = self.first_seq(conversation)?;
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for event in self.above(conversation, after_seq).take(limit) {
            bytes = bytes.saturating_add(event.event().len());
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push((event.seq(), event.event().clone()));
        }
        Some(TailView { first_seq, found })
    }

    /// The first messages above `after_seq`.
    pub(super) fn messages_after(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
    ) -> Option<TailView<TailMessages>> {
        let conversation = self.conversations.get(key)?;
        let found = TailMessages {
            messages: self
                .above(conversation, after_seq)
                .filter(|it| it.is_message())
                .take(limit)
                .map(|it| (it.seq(), it.event().clone()))
                .collect(),
            recalls: conversation.recalls.clone(),
        };
        Some(TailView {
            first_seq: self.first_seq(conversation)?,
            found,
        })
    }

    /// The last messages below `before`, by rising seq.
    pub(super) fn messages_before(
        &self,
        key: &ConversationKey,
        before: u64,
        limit: usize,
    ) -> Option<TailView<TailMessages>> {
        let conversation = self.conversations.get(key)?;
        let first_seq = self.first_seq(conversation)?;
        let below = usize::try_from(before.saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let below = below.min(conversation.events.len());
        let mut messages: Vec<_> = conversation
            .events
            .range(..below)
            .rev()
            .filter_map(|place| self.at(*place))
            .filter(|it| it.is_message())
            .take(limit)
            .map(|it| (it.seq(), it.event().clone()))
            .collect();
        messages.reverse();
        let found = TailMessages {
            messages,
            recalls: conversation.recalls.clone(),
        };
        Some(TailView { first_seq, found })
    }

    /// The first seq in the tail whose event is of `time_ms` or later.
    pub(super) fn first_at(
        &self,
        key: &ConversationKey,
        time_ms: i64,
    ) -> Option<TailView<Option<u64>>> {
        let conversation = self.conversations.get(key)?;
        let first_seq = self.first_seq(conversation)?;
        let earlier = conversation.events.partition_point(|place| {
            self.at(*place)
                .is_some_and(|it| it.header().time_ms < time_ms)
        });
        let found = (earlier < conversation.events.len()).then_some(first_seq + earlier as u64);
        Some(TailView { first_seq, found })
    }

    /// The messages from `first` to `last` that recalls in the tail took back.
    pub(super) fn recalled_between(
        &self,
        key: &ConversationKey,
        first: u64,
        last: u64,
    ) -> Vec<u64> {
        let recalls = self.conversations.get(key).map(|it| &it.recalls);
        recalls
            .filter(|_| first <= last)
            .into_iter()
            .flat_map(|it| it.range(first..=last))
            .map(|(target, _)| *target)
            .collect()
    }

    fn first_seq(&self, conversation: &TailConversation) -> Option<u64> {
        self.at(*conversation.events.front()?).map(LoggedEvent::seq)
    }

    fn above<'a>(
        &'a self,
        conversation: &'a TailConversation,
        after_seq: u64,
    ) -> impl Iterator<Item = &'a LoggedEvent> {
        let first = self.first_seq(conversation).unwrap_or(1);
        let skip = after_seq.saturating_add(1).saturating_sub(first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        conversation
            .events
            .iter()
            .skip(skip)
            .filter_map(|place| self.at(*place))
    }

    fn at(&self, place: Place) -> Option<&LoggedEvent> {
        let index = usize::try_from(place.batch_no.checked_sub(self.first_no)?).ok()?;
        self.batches.get(index)?.batch.events.get(place.index)
    }
}
