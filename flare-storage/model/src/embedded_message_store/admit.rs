//! Which events of a batch are new, and whether they may be stored.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{state::State, tail::TailBatch};
use crate::{
    client_id_key::{ClientIdKey, client_id_of},
    conversation_key::ConversationKey,
    logged_event::LoggedEvent,
    message_store::{
        StoreBatch, StoreError,
        admission::{Admission, id_conflict, seq_conflict},
    },
};

/// What a batch and each of its events take in memory beside the events' bytes, about.
const BATCH_OVERHEAD_BYTES: usize = 256;
const EVENT_OVERHEAD_BYTES: usize = 640;

/// Adds what is new in the batch to the tail. Called by one thread at a time.
pub(super) fn commit(state: &State, batch: &Arc<StoreBatch>) -> Result<(), StoreError> {
    state.open()?;
    let cursor = state.tail().cursor(batch.partition);
    let stored = stored_seqs(state, batch)?;
    let Admission {
        known,
        fresh,
        heads,
    } = Admission::of(batch, cursor, &stored)?;
    for event in known {
        same_as_stored(state, event)?;
    }
    if batch.to.next_offset <= cursor.next_offset {
        return Ok(());
    }
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
        Err(seq_conflict(event))
    }
}

/// The keys of the new events' client ids, none of which is taken.
fn free_ids(state: &State, fresh: &[&LoggedEvent]) -> Result<Vec<Option<ClientIdKey>>, StoreError> {
    let client_ids: Vec<_> = fresh.iter().map(|it| client_id_of(it)).collect();
    let mut seen = HashSet::with_capacity(client_ids.len());
    {
        let tail = state.tail();
        for (index, client_id) in client_ids.iter().enumerate() {
            if let Some(client_id) = client_id
                && (!seen.insert(client_id) || tail.event_of_id(client_id).is_some())
            {
                return Err(id_conflict(fresh[index]));
            }
        }
    }
    for (index, client_id) in client_ids.iter().enumerate() {
        if let Some(client_id) = client_id
            && state.disk.seq_of_id(client_id)?.is_some()
        {
            return Err(id_conflict(fresh[index]));
        }
    }
    Ok(client_ids)
}
