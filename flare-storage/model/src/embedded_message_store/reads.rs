//! The port: what the tail and fjall say together. The tail is asked first, fjall for what lies below it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task;
use ulid::Ulid;

use super::{EmbeddedMessageStore, admit, disk::Disk, tail::TailMessages};
use crate::{
    client_id_key::{ClientIdKey, client_id_of, client_id_of_key},
    command_id::{Fingerprint, IdKey, Receipt},
    conversation_key::ConversationKey,
    head::Head,
    logged_event::LoggedEvent,
    message_store::{Cursor, MessageQuery, MessageRow, MessageStore, StoreBatch, StoreError},
};

impl EmbeddedMessageStore {
    /// Runs a read of fjall where it may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let state = Arc::clone(&self.state);
        task::spawn_blocking(move || read(&state.disk).map_err(|error| state.disk.named(error)))
            .await
            .unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    /// The seq after which the messages of `time_ms` and later come.
    async fn seq_before(&self, key: &ConversationKey, time_ms: i64) -> Result<u64, StoreError> {
        let in_tail = self.state.tail().first_at(key, time_ms);
        let (below, found) = match in_tail {
            // The tail's first event is earlier, so is all of fjall.
            Some(view) if view.found.is_none_or(|it| it > view.first_seq) => {
                return Ok(view.found.map_or(u64::MAX, |it| it - 1));
            }
            Some(view) => (Some(view.first_seq), view.found),
            None => (None, None),
        };
        let key = key.clone();
        let on_disk = self
            .on_disk(move |disk| {
                let last = match below {
                    Some(first) => first - 1,
                    None => disk.last_seq(&key)?,
                };
                disk.first_at(&key, last, time_ms)
            })
            .await?;
        Ok(on_disk.or(found).map_or(u64::MAX, |it| it - 1))
    }

    async fn messages_after(
        &self,
        key: &ConversationKey,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        if after_seq == u64::MAX {
            return Ok(Vec::new());
        }
        let view = self.state.tail().messages_after(key, after_seq, limit);
        let (last, in_tail) = match view {
            Some(view) => (view.first_seq - 1, view.found),
            None => (u64::MAX, TailMessages::default()),
        };
        let first = after_seq + 1;
        let key = key.clone();
        self.on_disk(move |disk| {
            let mut messages = disk.messages_up(&key, first, last, limit)?;
            messages.extend(in_tail.messages);
            messages.truncate(limit);
            with_recalls(disk, &key, messages, &in_tail.recalls)
        })
        .await
    }

    async fn messages_before(
        &self,
        key: &ConversationKey,
        before: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let view = self.state.tail().messages_before(key, before, limit);
        let (below, in_tail) = match view {
            Some(view) => (view.first_seq.min(before), view.found),
            None => (before, TailMessages::default()),
        };
        let key = key.clone();
        self.on_disk(move |disk| {
            let missing = limit - in_tail.messages.len();
            let mut messages = disk.messages_down(&key, below, missing)?;
            messages.reverse();
            messages.extend(in_tail.messages);
            with_recalls(disk, &key, messages, &in_tail.recalls)
        })
        .await
    }
}

/// Joins messages, by rising seq, with what took them back.
fn with_recalls(
    disk: &Disk,
    key: &ConversationKey,
    messages: Vec<(u64, Bytes)>,
    in_tail: &BTreeMap<u64, u64>,
) -> Result<Vec<MessageRow>, StoreError> {
    let (Some((first, _)), Some((last, _))) = (messages.first(), messages.last()) else {
        return Ok(Vec::new());
    };
    let on_disk: HashMap<_, _> = disk.recalls(key, *first, *last)?.into_iter().collect();
    let row = |(seq, event)| MessageRow {
        seq,
        event,
        recalled_by_seq: in_tail.get(&seq).or_else(|| on_disk.get(&seq)).copied(),
    };
    Ok(messages.into_iter().map(row).collect())
}

/// A run must not have a hole, and may begin late only at the floor.
fn contiguous(
    disk: &Disk,
    key: &ConversationKey,
    after_seq: u64,
    run: &[(u64, Bytes)],
) -> Result<(), StoreError> {
    let hole = run.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0);
    if let Some([(seq, _), (next, _)]) = hole {
        return Err(StoreError::Damaged(format!(
            "{key} has nothing between seq {seq} and {next}"
        )));
    }
    if let Some((first, _)) = run.first()
        && *first != after_seq + 1
        && disk.first_seq(key)?.is_some_and(|floor| floor < *first)
    {
        return Err(StoreError::Damaged(format!(
            "{key} has nothing between seq {after_seq} and {first}"
        )));
    }
    Ok(())
}

#[async_trait]
impl MessageStore for EmbeddedMessageStore {
    async fn cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        Ok(self.state.tail().cursor(partition))
    }

    async fn synced_cursor(&self, partition: u32) -> Result<Cursor, StoreError> {
        Ok(self
            .state
            .progress()
            .synced
            .get(&partition)
            .copied()
            .unwrap_or_default())
    }

    async fn commit(&self, batch: Arc<StoreBatch>) -> Result<(), StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.room().await?;
        let state = Arc::clone(&self.state);
        let (half_events, half_bytes) = (
            self.options.max_tail_events / 2,
            self.options.max_tail_bytes / 2,
        );
        // The look-ups of ids may reach the disk. The turn goes along: a caller who gives up must not let the next one in too early.
        let committing = task::spawn_blocking(move || {
            let _turn = turn;
            admit::commit(&state, &batch).map_err(|error| state.disk.named(error))?;
            let (events, bytes) = state.tail().size();
            let urgent = events >= half_events || bytes >= half_bytes;
            let known = {
                let signal = state.signal();
                signal.work && (signal.urgent || !urgent)
            };
            if !known {
                state.tell(|signal| {
                    signal.work = true;
                    signal.urgent |= urgent;
                });
            }
            Ok(())
        });
        committing
            .await
            .unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<Cursor, StoreError> {
        let mut cursor = self.state.watch(partition)?;
        let beyond = cursor
            .wait_for(|it| it.next_offset > offset)
            .await
            .map(|it| *it);
        beyond.map_err(|_| self.state.open().err().unwrap_or(StoreError::Closed))
    }

    async fn heads(&self, keys: &[ConversationKey]) -> Result<Vec<Option<Head>>, StoreError> {
        let mut heads: Vec<Option<Head>> = {
            let tail = self.state.tail();
            keys.iter().map(|key| tail.head(key).cloned()).collect()
        };
        let unknown: Vec<_> = (0..keys.len())
            .filter(|index| heads[*index].is_none())
            .map(|index| (index, keys[index].clone()))
            .collect();
        if unknown.is_empty() {
            return Ok(heads);
        }
        let found = self
            .on_disk(move |disk| {
                let read = |(index, key): (usize, ConversationKey)| Ok((index, disk.head(&key)?));
                unknown
                    .into_iter()
                    .map(read)
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        for (index, head) in found {
            heads[index] = head;
        }
        Ok(heads)
    }

    async fn receipts(
        &self,
        keys: &[IdKey],
    ) -> Result<Vec<Option<(Receipt, Fingerprint)>>, StoreError> {
        let ids: Vec<_> = keys.iter().map(client_id_of_key).collect();
        let mut receipts: Vec<_> = {
            let tail = self.state.tail();
            let read = |id| {
                tail.event_of_id(id)
                    .map(|it| (it.receipt(), it.fingerprint()))
            };
            ids.iter().map(read).collect()
        };
        let unknown: Vec<_> = (0..keys.len())
            .filter(|index| receipts[*index].is_none())
            .map(|index| (index, keys[index].conversation.clone(), ids[index]))
            .collect();
        if unknown.is_empty() {
            return Ok(receipts);
        }
        let found = self
            .on_disk(move |disk| {
                let read = |(index, key, id)| Ok((index, receipt(disk, &key, &id)?));
                unknown
                    .into_iter()
                    .map(read)
                    .collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        for (index, receipt) in found {
            receipts[index] = receipt;
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
        if after_seq == u64::MAX || limit == 0 {
            return Ok(Vec::new());
        }
        let view = self.state.tail().range(key, after_seq, limit, max_bytes);
        let (last, in_tail) = match view {
            Some(view) if view.first_seq <= after_seq + 1 => {
                return Ok(view.found.into_iter().map(|(_, event)| event).collect());
            }
            Some(view) => (view.first_seq - 1, view.found),
            None => (u64::MAX, Vec::new()),
        };
        let key = key.clone();
        self.on_disk(move |disk| {
            let mut run = disk.range(&key, after_seq + 1, last, limit, max_bytes)?;
            // fjall's part ends where a limit was met, else where the tail begins.
            let mut bytes: usize = run.iter().map(|(_, event)| event.len()).sum();
            let reached = run.last().map_or(last, |(seq, _)| *seq);
            if reached == last {
                for (seq, event) in in_tail {
                    bytes = bytes.saturating_add(event.len());
                    if run.len() == limit || (bytes > max_bytes && !run.is_empty()) {
                        break;
                    }
                    run.push((seq, event));
                }
            } else if last != u64::MAX && disk.event(&key, reached + 1)?.is_none() {
                return Err(StoreError::Damaged(format!(
                    "{key} has nothing above seq {reached}"
                )));
            }
            contiguous(disk, &key, after_seq, &run)?;
            Ok(run.into_iter().map(|(_, event)| event).collect())
        })
        .await
    }

    async fn event(&self, key: &ConversationKey, seq: u64) -> Result<Option<Bytes>, StoreError> {
        let in_tail = self
            .state
            .tail()
            .event(key, seq)
            .map(|it| it.event().clone());
        if in_tail.is_some() {
            return Ok(in_tail);
        }
        let key = key.clone();
        self.on_disk(move |disk| Ok(disk.event(&key, seq)?.map(|it| it.event)))
            .await
    }

    async fn messages(
        &self,
        key: &ConversationKey,
        query: MessageQuery,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        match query {
            MessageQuery::Before(seq) => self.messages_before(key, seq, limit).await,
            MessageQuery::After(seq) => self.messages_after(key, seq, limit).await,
            MessageQuery::FromTime(time_ms) => {
                let after = self.seq_before(key, time_ms).await?;
                self.messages_after(key, after, limit).await
            }
        }
    }

    async fn count_recalled_above(
        &self,
        key: &ConversationKey,
        seq: u64,
    ) -> Result<u64, StoreError> {
        let Some(first) = seq.checked_add(1) else {
            return Ok(0);
        };
        let recalled = self.recalled_between(key, first, u64::MAX).await?;
        Ok(recalled.len() as u64)
    }

    async fn recalled_between(
        &self,
        key: &ConversationKey,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let mut recalled = self.state.tail().recalled_between(key, first_seq, last_seq);
        let key = key.clone();
        self.on_disk(move |disk| {
            let on_disk = disk.recalls(&key, first_seq, last_seq)?;
            recalled.extend(on_disk.into_iter().map(|(target, _)| target));
            recalled.sort_unstable();
            recalled.dedup();
            Ok(recalled)
        })
        .await
    }

    async fn locate(&self, message_id: Ulid) -> Result<Option<(ConversationKey, u64)>, StoreError> {
        let in_tail = self.state.tail().locate(message_id);
        if in_tail.is_some() {
            return Ok(in_tail);
        }
        self.on_disk(move |disk| disk.locate(message_id)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.finish().await
    }

    async fn floor(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let in_tail = self.state.tail().first_seq_of(key);
        let key = key.clone();
        let on_disk = self.on_disk(move |disk| disk.first_seq(&key)).await?;
        Ok(on_disk.or(in_tail).unwrap_or(1))
    }
}

/// What a command got, by way of its event.
fn receipt(
    disk: &Disk,
    key: &ConversationKey,
    id: &ClientIdKey,
) -> Result<Option<(Receipt, Fingerprint)>, StoreError> {
    let Some(seq) = disk.seq_of_id(id)? else {
        return Ok(None);
    };
    // An id goes with its event.
    let Some(row) = disk.event(key, seq)? else {
        return Ok(None);
    };
    let event = LoggedEvent::parse(row.event, row.fingerprint)
        .map_err(|error| StoreError::Damaged(format!("{key} seq {seq}: {error}")))?;
    if client_id_of(&event).as_ref() != Some(id) {
        return Err(StoreError::Damaged(format!(
            "{key} seq {seq} has not its client id's event"
        )));
    }
    Ok(Some((event.receipt(), event.fingerprint())))
}
