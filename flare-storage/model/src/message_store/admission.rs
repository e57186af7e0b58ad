//! Which events of a batch are new, and whether they may follow what is stored: the same for every adapter.

use std::collections::HashMap;

use super::{Cursor, StoreBatch, StoreError};
use crate::{
    conversation_key::ConversationKey,
    head::{BrokenInvariant, Head},
    logged_event::LoggedEvent,
};

/// A batch, held against what is stored.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    /// Events at seqs that are taken: each must be the one that is there.
    pub(crate) known: Vec<&'a LoggedEvent>,
    /// Events to add, in the batch's order. None if the cursor covers the batch.
    pub(crate) fresh: Vec<&'a LoggedEvent>,
    /// The heads of the conversations that `fresh` touches, as they are after it.
    pub(crate) heads: HashMap<&'a ConversationKey, &'a Head>,
}

impl<'a> Admission<'a> {
    /// `stored`: the newest stored seq of each conversation in the batch; none: nothing is stored of it.
    pub(crate) fn of(
        batch: &'a StoreBatch,
        cursor: Cursor,
        stored: &HashMap<&ConversationKey, u64>,
    ) -> Result<Self, StoreError> {
        if batch.from.next_offset > cursor.next_offset {
            return Err(StoreError::Gap {
                partition: batch.partition,
                stored: cursor.next_offset,
                from: batch.from.next_offset,
            });
        }
        let mut known = Vec::new();
        let mut fresh = Vec::with_capacity(batch.events.len());
        let mut last: HashMap<&ConversationKey, u64> = HashMap::new();
        for event in &batch.events {
            let (key, seq) = (event.key(), event.seq());
            let stored = stored.get(key).copied().unwrap_or(0);
            if seq <= stored {
                known.push(event);
                continue;
            }
            let last = last.entry(key).or_insert(stored);
            // Above a cursor that covers the batch there is nothing to add.
            if seq != *last + 1 || batch.to.next_offset <= cursor.next_offset {
                return Err(StoreError::Broken {
                    partition: batch.partition,
                    source: BrokenInvariant::Seq {
                        message_id: event.header().message_id.clone(),
                        conversation: key.to_string(),
                        seq,
                        head: *last,
                    },
                });
            }
            *last = seq;
            fresh.push(event);
        }
        let heads = heads_of(batch, &last)?;
        Ok(Self {
            known,
            fresh,
            heads,
        })
    }
}

/// The heads of the conversations that new events touch, whose last seqs are given; the batch must have brought them.
fn heads_of<'a>(
    batch: &'a StoreBatch,
    last: &HashMap<&'a ConversationKey, u64>,
) -> Result<HashMap<&'a ConversationKey, &'a Head>, StoreError> {
    let heads: HashMap<_, _> = batch
        .heads
        .iter()
        .filter(|(key, _)| last.contains_key(key))
        .map(|(key, head)| (key, head))
        .collect();
    for (key, seq) in last {
        if heads.get(key).is_none_or(|head| head.seq != *seq) {
            return Err(StoreError::Heads {
                key: (*key).clone(),
                seq: *seq,
            });
        }
    }
    Ok(heads)
}

/// What a commit of an event is told whose client id is taken.
pub(crate) fn id_conflict(event: &LoggedEvent) -> StoreError {
    StoreError::IdConflict {
        key: event.key().clone(),
        client_id: event.header().client_id.clone(),
        message_id: event.message_id(),
    }
}

/// What a commit of an event is told at whose seq another one is stored.
pub(crate) fn seq_conflict(event: &LoggedEvent) -> StoreError {
    StoreError::SeqConflict {
        key: event.key().clone(),
        seq: event.seq(),
        message_id: event.message_id(),
    }
}
