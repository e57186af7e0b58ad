//! Which events of a batch are new, and whether they may be stored.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    rows::{self, ClientIdKey},
    state::State,
    tail::TailBatch,
};
use crate::{
    conversation_key::ConversationKey,
    head::{BrokenInvariant, Head},
    logged_event::LoggedEvent,
    message_store::{StoreBatch, StoreError},
};

/// What a batch and each of its events take in memory beside the events' bytes, about.
const BATCH_OVERHEAD_BYTES: usize = 256;
const EVENT_OVERHEAD_BYTES: usize = 640;

/// Adds what is new in the batch to the tail. Called by one thread at a time.
pub(super) fn commit(state: &State, batch: &Arc<StoreBatch>) -> Result<(), StoreError> {
    state.open()?;
    let cursor = state.tail().cursor(batch.partition);
    if batch.from.next_offset > cursor.next_offset {
        return Err(StoreError::Gap {
            partition: batch.partition,
            stored: cursor.next_offset,
            from: batch.from.next_offset,
        });
    }
    let mut stored = stored_seqs(state, batch)?;
    let mut last = stored.clone();
    let mut fresh = Vec::with_capacity(batch.events.len());
    for event in &batch.events {
        let seq = event.seq();
        let known = stored.get_mut(event.key()).map_or(0, |it| *it);
        if seq <= known {
            same_as_stored(state, event)?;
            continue;
        }
        let last = last.entry(event.key()).or_default();
        // Above a cursor that covers the batch there is nothing to add.
        if seq != *last + 1 || batch.to.next_offset <= cursor.next_offset {
            return Err(StoreError::Broken {
                partition: batch.partition,
                source: BrokenInvariant::Seq {
                    message_id: event.header().message_id.clone(),
                    conversation: event.key().to_string(),
                    seq,
                    head: *last,
                },
            });
        }
        *last = seq;
        fresh.push(event);
    }
    if batch.to.next_offset <= cursor.next_offset {
        return Ok(());
    }
    let heads = new_heads(batch, &fresh, &last)?;
    let client_ids = free_ids(state, &fresh)?;
    let bytes: usize = fresh
        .iter()
        .map(|it| it.event().len() + EVENT_OVERHEAD_BYTES)
        .sum::<usize>()
        + BATCH_OVERHEAD_BYTES;
    let batch = if fresh.len() == batch.events.len() && heads.len() == batch.heads.len() {
        Arc::clone(batch)
    } else {
        Arc::new(StoreBatch {
            partition: batch.partition,
            from: cursor,
            to: batch.to,
            events: fresh.into_iter().cloned().collect(),
            heads: heads
                .into_iter()
                .map(|(key, head)| (key.clone(), head.clone()))
                .collect(),
        })
    };
    let (partition, to) = (batch.partition, batch.to);
    state.tail_mut().push(TailBatch {
        batch,
        client_ids,
        bytes,
    });
    state.moved(partition, to);
    Ok(())
}

/// The newest stored seq of each conversation in the batch.
fn stored_seqs<'a>(
    state: &State,
    batch: &'a StoreBatch,
) -> Result<HashMap<&'a ConversationKey, u64>, StoreError> {
    let mut stored = HashMap::new();
    let mut unknown = Vec::new();
    {
        let tail = state.tail();
        for event in &batch.events {
            let key = event.key();
            stored.entry(key).or_insert_with(|| match tail.head(key) {
                Some(head) => head.seq,
                None => {
                    unknown.push(key);
                    0
                }
            });
        }
    }
    for key in unknown {
        stored.insert(key, state.disk.last_seq(key)?);
    }
    Ok(stored)
}

/// A repeated event must be the one that is there. Below the floor nobody can tell any more.
fn same_as_stored(state: &State, event: &LoggedEvent) -> Result<(), StoreError> {
    let (key, seq) = (event.key(), event.seq());
    let in_tail = state
        .tail()
        .event(key, seq)
        .map(|it| it.event() == event.event() && it.fingerprint() == event.fingerprint());
    let same = match in_tail {
        Some(same) => same,
        None => match state.disk.event(key, seq)? {
            Some(row) => row.event == event.event() && row.fingerprint == event.fingerprint(),
            None => match state.disk.first_seq(key)? {
                Some(floor) if seq > floor => {
                    return Err(StoreError::Damaged(format!("{key} has no seq {seq}")));
                }
                _ => true,
            },
        },
    };
    if same {
        Ok(())
    } else {
        Err(StoreError::SeqConflict {
            key: key.clone(),
            seq,
            message_id: event.message_id(),
        })
    }
}

/// The heads of the conversations that new events touch; the batch must have brought them.
fn new_heads<'a>(
    batch: &'a StoreBatch,
    fresh: &[&LoggedEvent],
    last: &HashMap<&ConversationKey, u64>,
) -> Result<HashMap<&'a ConversationKey, &'a Head>, StoreError> {
    let touched: HashSet<&ConversationKey> = fresh.iter().map(|it| it.key()).collect();
    let heads: HashMap<_, _> = batch
        .heads
        .iter()
        .filter(|(key, _)| touched.contains(key))
        .map(|(key, head)| (key, head))
        .collect();
    for key in touched {
        let seq = last.get(key).copied().unwrap_or(0);
        if heads.get(key).is_none_or(|head| head.seq != seq) {
            return Err(StoreError::Heads {
                key: key.clone(),
                seq,
            });
        }
    }
    Ok(heads)
}

/// The keys of the new events' client ids, none of which is taken.
fn free_ids(state: &State, fresh: &[&LoggedEvent]) -> Result<Vec<Option<ClientIdKey>>, StoreError> {
    let client_ids: Vec<_> = fresh.iter().map(|it| rows::client_id_of(it)).collect();
    let mut seen = HashSet::with_capacity(client_ids.len());
    let taken = |index: usize| {
        let event: &LoggedEvent = fresh[index];
        StoreError::IdConflict {
            key: event.key().clone(),
            client_id: event.header().client_id.clone(),
            message_id: event.message_id(),
        }
    };
    {
        let tail = state.tail();
        for (index, client_id) in client_ids.iter().enumerate() {
            if let Some(client_id) = client_id
                && (!seen.insert(client_id) || tail.event_of_id(client_id).is_some())
            {
                return Err(taken(index));
            }
        }
    }
    for (index, client_id) in client_ids.iter().enumerate() {
        if let Some(client_id) = client_id
            && state.disk.seq_of_id(client_id)?.is_some()
        {
            return Err(taken(index));
        }
    }
    Ok(client_ids)
}
