//! Each obligation of the contract has a store that breaks it; the contract must name that one and no other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_storage_model::{
    ConversationKey, Cursor, Fingerprint, Head, IdKey, MessageQuery, MessageRow, MessageStore,
    Receipt, StoreBatch, StoreError,
    contract::{OBLIGATIONS, Script, Subject},
};
use ulid::Ulid;

use crate::subject;

/// A store that keeps all obligations but the one it is named after.
struct Faulty {
    inner: Arc<dyn MessageStore>,
    broken: &'static str,
    memory: Arc<Mutex<Memory>>,
}

/// What a fault remembers.
#[derive(Default)]
struct Memory {
    committed: Vec<Arc<StoreBatch>>,
    last: HashMap<u32, Cursor>,
    furthest: HashMap<u32, Cursor>,
    keys: Vec<ConversationKey>,
    /// Handed over, whatever became of it.
    begun: Vec<Arc<StoreBatch>>,
    /// Since an obligation asked for the store.
    closed: bool,
}

impl Faulty {
    fn breaks(&self, obligation: &str) -> bool {
        self.broken == obligation
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("nobody panics with it")
    }

    /// The batch's first event alone.
    fn first_of(batch: &StoreBatch, head: Option<Head>) -> Option<StoreBatch> {
        let first = batch.events.first()?.clone();
        let mut head = head.unwrap_or_default();
        head.apply(first.header()).ok()?;
        let heads = vec![(first.key().clone(), head)];
        Some(StoreBatch {
            events: vec![first],
            heads,
            ..batch.clone()
        })
    }
}

#[async_trait]
impl MessageStore for Faulty {
    async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        let cursor = self.inner.cursor(partition).await?;
        let memory = self.memory();
        Ok(match self.broken {
            "a_closed_store_has_kept_everything" if memory.closed => Cursor {
                next_offset: cursor.next_offset.saturating_sub(1),
                ..cursor
            },
            "the_cursor_covers_what_is_committed" => Cursor {
                n: cursor.n.saturating_sub(1),
                ..cursor
            },
            "the_cursor_never_moves_back" => memory.last.get(&partition).copied().unwrap_or(cursor),
            "what_a_crash_leaves_can_be_committed_on" => {
                memory.furthest.get(&partition).copied().unwrap_or(cursor)
            }
            _ => cursor,
        })
    }

    async fn synced_cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        let cursor = self.inner.cursor(partition).await?;
        match self.broken {
            "the_synced_cursor_is_never_ahead" if cursor.next_offset == 0 => Ok(Cursor {
                next_offset: 1,
                ..cursor
            }),
            "what_is_synced_survives_a_crash" => Ok(cursor),
            _ => self.inner.synced_cursor(partition).await,
        }
    }

    async fn commit(&self, batch: Arc<StoreBatch>) -> Result<(), StoreError> {
        if self.breaks("a_commit_that_is_given_up_can_be_repeated") {
            let mut memory = self.memory();
            if memory.begun.contains(&batch) && !memory.committed.contains(&batch) {
                return Err(StoreError::Unavailable("it was given up".to_owned()));
            }
            memory.begun.push(Arc::clone(&batch));
        }
        let cursor = self.inner.cursor(batch.partition).await?;
        if self.breaks("a_committed_batch_is_readable") && batch.heads.len() == 1 {
            // The batch of one event and no more: told of, never stored.
            let lonely = batch.events.len() == 1 && batch.from.next_offset == 0;
            if lonely && batch.events[0].event().ends_with(b"hello") {
                return Ok(());
            }
        }
        if self.breaks("a_repeated_batch_changes_nothing")
            && self.memory().committed.contains(&batch)
            && batch.events.len() == 3
        {
            return Err(StoreError::Unavailable(
                "it was committed before".to_owned(),
            ));
        }
        if self.breaks("of_a_batch_that_was_committed_in_part_the_rest_is_added")
            && (batch.from.next_offset + 1..batch.to.next_offset).contains(&cursor.next_offset)
        {
            return Ok(());
        }
        if self.breaks("a_refused_batch_leaves_nothing")
            && let Some(first) = batch.events.first()
        {
            let head = self.inner.heads(std::slice::from_ref(first.key())).await?;
            if let Some(first) = Self::first_of(&batch, head.into_iter().next().flatten()) {
                let outcome = self.inner.commit(Arc::clone(&batch)).await;
                if matches!(outcome, Err(StoreError::IdConflict { .. })) {
                    // That it cannot be stored either is no matter.
                    let _ = self.inner.commit(Arc::new(first)).await;
                }
                return outcome;
            }
        }
        let outcome = self.inner.commit(Arc::clone(&batch)).await;
        let swallowed = match &outcome {
            Err(StoreError::SeqConflict { .. }) => "another_event_at_a_taken_seq_is_refused",
            Err(StoreError::IdConflict { .. }) => "a_taken_client_id_is_refused",
            Err(StoreError::Broken { .. }) => "an_event_that_leaves_a_hole_is_refused",
            Err(StoreError::Gap { .. }) => "a_batch_above_the_cursor_is_refused",
            Err(StoreError::Heads { .. }) => "heads_that_are_not_the_events_ones_are_refused",
            Err(StoreError::Closed) => "a_closed_store_takes_no_more",
            _ => "",
        };
        let mut memory = self.memory();
        memory.last.insert(batch.partition, batch.to);
        if outcome.is_ok() {
            let furthest = memory.furthest.entry(batch.partition).or_default();
            if furthest.next_offset < batch.to.next_offset {
                *furthest = batch.to;
            }
            memory
                .keys
                .extend(batch.heads.iter().map(|(key, _)| key.clone()));
            memory.committed.push(batch);
        }
        if self.breaks(swallowed) {
            Ok(())
        } else {
            outcome
        }
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<Cursor, StoreError> {
        if self.breaks("waiters_wait_for_their_offset") {
            return self.inner.cursor(partition).await;
        }
        match self.inner.wait_beyond(partition, offset).await {
            Err(StoreError::Closed) if self.breaks("waiters_end_with_the_store") => {
                self.inner.cursor(partition).await
            }
            reached => reached,
        }
    }

    async fn heads(&self, keys: &[ConversationKey]) -> Result<Vec<Option<Head>>, StoreError> {
        let mut heads = self.inner.heads(keys).await?;
        if self.breaks("heads_come_in_the_order_of_their_keys") && keys.len() == 4 {
            heads.sort_by_key(|it| it.as_ref().map(|it| it.seq));
        }
        if self.breaks("what_is_not_there_is_none") {
            heads
                .iter_mut()
                .for_each(|it| *it = Some(it.take().unwrap_or_default()));
        }
        Ok(heads)
    }

    async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError> {
        let mut receipts = self.inner.receipts(keys).await?;
        if self.breaks("receipts_come_in_the_order_of_their_keys") {
            receipts.reverse();
        }
        Ok(receipts)
    }

    async fn range(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        if self.breaks("a_closed_store_still_answers") && self.memory().closed {
            return Err(StoreError::Closed);
        }
        let cut = max_bytes < usize::MAX;
        let given = if cut && max_bytes > 1 && self.breaks("a_range_keeps_its_limits") {
            usize::MAX
        } else {
            max_bytes
        };
        let mut run = self.inner.range(key, after_seq, limit, given).await?;
        if self.breaks("a_range_has_no_hole") && run.len() > 10 && run.len() <= 40 {
            run.remove(1);
        }
        if self.breaks("a_range_gives_one_event_at_least") {
            run.retain(|it| it.len() <= max_bytes);
        }
        Ok(run)
    }

    async fn event(&self, key: &ConversationKey, seq: u64) -> Result<Option<Bytes>, StoreError> {
        let mut event = self.inner.event(key, seq).await?;
        if self.breaks("an_event_is_found_by_its_seq") && seq == 2 && event.is_some() {
            // The large ones are of another obligation.
            let next = self.inner.event(key, 3).await?;
            event = next.filter(|it| it.len() < 1_000).or(event);
        }
        if self.breaks("large_events_come_back_whole") {
            event = event.map(|it| it.slice(..it.len().min(60_000)));
        }
        if self.breaks("tenants_do_not_see_each_other") && event.is_none() && seq == 1 {
            let keys = self.memory().keys.clone();
            let namesake = keys
                .iter()
                .find(|it| it.conversation == key.conversation && *it != key);
            if let Some(namesake) = namesake {
                event = self.inner.event(namesake, seq).await?;
            }
        }
        Ok(event)
    }

    async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let query = match query {
            MessageQuery::After(seq)
                if seq > 0 && self.breaks("a_page_after_a_seq_begins_above_it") =>
            {
                MessageQuery::After(seq - 1)
            }
            MessageQuery::FromTime(time) if self.breaks("a_page_from_a_time_begins_at_it") => {
                MessageQuery::FromTime(time.saturating_add(1))
            }
            query => query,
        };
        let mut rows = self.inner.messages(key, query, limit).await?;
        match (self.broken, query) {
            ("a_page_before_a_seq_ends_below_it", MessageQuery::Before(seq)) if seq < u64::MAX => {
                rows.reverse();
            }
            ("a_page_holds_messages_only", _) if limit == 100 => {
                let event = self.inner.event(key, 1).await?.unwrap_or_default();
                rows.insert(
                    0,
                    MessageRow {
                        seq: 1,
                        event,
                        recalled_by_seq: None,
                    },
                );
            }
            ("a_page_is_full_while_there_are_messages", MessageQuery::After(0)) if limit == 3 => {
                rows.retain(|it| it.seq <= 3);
            }
            ("a_recalled_message_says_by_what", _) => {
                rows.iter_mut().for_each(|it| it.recalled_by_seq = None);
            }
            _ => {}
        }
        Ok(rows)
    }

    async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError> {
        let off = u64::from(self.breaks("recalled_messages_above_a_seq_are_counted"));
        self.inner
            .count_recalled_above(key, seq.saturating_sub(off))
            .await
    }

    async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let off = u64::from(self.breaks("recalled_messages_of_a_run_are_named"));
        self.inner
            .recalled_between(key, first_seq + off, last_seq)
            .await
    }

    async fn locate(&self, message_id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        let off = u64::from(self.breaks("message_ids_are_located"));
        let place = self.inner.locate(message_id).await?;
        Ok(place.map(|(key, seq)| (key, seq + off)))
    }

    async fn close(&self) -> Result<(), StoreError> {
        let again = std::mem::replace(&mut self.memory().closed, true);
        if again && self.breaks("a_store_may_be_closed_again") {
            return Err(StoreError::Closed);
        }
        self.inner.close().await
    }

    async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let off = u64::from(self.breaks("the_floor_is_the_first_event"));
        Ok(self.inner.floor(key).await? - off)
    }
}

struct FaultySubject {
    inner: Arc<dyn Subject>,
    broken: &'static str,
    memory: Arc<Mutex<Memory>>,
}

impl FaultySubject {
    fn wrap(&self, inner: Arc<dyn MessageStore>) -> Arc<dyn MessageStore> {
        Arc::new(Faulty {
            inner,
            broken: self.broken,
            memory: Arc::clone(&self.memory),
        })
    }
}

#[async_trait]
impl Subject for FaultySubject {
    fn store(&self) -> Arc<dyn MessageStore> {
        self.memory.lock().expect("nobody panics with it").closed = false;
        self.wrap(self.inner.store())
    }

    async fn crash(&self) -> Arc<dyn MessageStore> {
        let inner = self.inner.crash().await;
        self.memory
            .lock()
            .expect("nobody panics with it")
            .last
            .clear();
        self.wrap(inner)
    }
}

#[tokio::test]
async fn a_store_that_breaks_one_obligation_fails_that_one_only() {
    // What the tail holds is lost in a crash, so a store that lies about it is found out.
    let inner = subject::fresh(subject::tail_only());
    let mut wrong = Vec::new();
    for fault in OBLIGATIONS {
        let subject: Arc<dyn Subject> = Arc::new(FaultySubject {
            inner: Arc::clone(&inner),
            broken: fault.name,
            memory: Arc::default(),
        });
        for obligation in OBLIGATIONS {
            let outcome = obligation.check(Arc::clone(&subject), Script::new()).await;
            if outcome.is_err() != (obligation.name == fault.name) {
                wrong.push(format!(
                    "broken {}: {} {outcome:?}",
                    fault.name, obligation.name
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
