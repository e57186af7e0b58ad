//! The message store's rows, filled by storage-writer's own fold.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use flare_message_orchestrator::owner::{ReadAnswer, ReadRequest, Target};
use flare_storage_model::{
    ConversationKey, Cursor, Fingerprint, Head, IdKey, LoggedEvent, Receipt, StoreBatch,
};
use flare_storage_writer::domain::fold::{Input, Output, WriterFold};

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) cursor: Cursor,
    heads: HashMap<ConversationKey, Head>,
    receipts: HashMap<IdKey, (Receipt, Fingerprint)>,
    targets: HashMap<(ConversationKey, u64), Target>,
    /// In the order of the log.
    pub(crate) events: Vec<LoggedEvent>,
}

impl Store {
    pub(crate) fn read(&self, request: &ReadRequest) -> ReadAnswer {
        ReadAnswer {
            as_of: self.cursor.next_offset,
            heads: request
                .heads
                .iter()
                .map(|key| self.heads.get(key).cloned())
                .collect(),
            receipts: request
                .ids
                .iter()
                .map(|key| self.receipts.get(key).cloned())
                .collect(),
            targets: request
                .targets
                .iter()
                .map(|target| self.targets.get(target).cloned())
                .collect(),
        }
    }

    fn commit(&mut self, batch: &StoreBatch) -> Result<(), String> {
        if batch.from != self.cursor {
            return Err("a batch does not go on from the cursor".to_owned());
        }
        for event in &batch.events {
            if let Some(id) = event.id_key() {
                let other = self
                    .receipts
                    .insert(id, (event.receipt(), event.fingerprint()));
                if other.is_some() {
                    return Err(format!("{} is stored twice", event.message_id()));
                }
            }
            if event.is_message() {
                let target = Target {
                    sender: event.header().sender_id.as_str().into(),
                    time_ms: event.header().time_ms,
                    recalled: false,
                };
                self.targets
                    .insert((event.key().clone(), event.seq()), target);
            }
            if let Some(target) = event
                .recalls()
                .and_then(|seq| self.targets.get_mut(&(event.key().clone(), seq)))
            {
                target.recalled = true;
            }
        }
        self.heads.extend(batch.heads.iter().cloned());
        self.events.extend(batch.events.iter().cloned());
        self.cursor = batch.to;
        Ok(())
    }
}

/// storage-writer, step by step; a crash forgets what it was at.
pub(crate) struct Writer {
    fold: WriterFold,
    output: Output,
}

impl Writer {
    pub(crate) fn new(cursor: Cursor) -> Self {
        Self {
            fold: WriterFold::new(0, cursor),
            output: Output::Idle,
        }
    }

    /// Does one thing, if there is something to do. An error: the partition stops.
    pub(crate) fn turn(
        &mut self,
        log: &[Bytes],
        at_once: usize,
        store: &mut Store,
    ) -> Result<(), String> {
        let input = match std::mem::replace(&mut self.output, Output::Idle) {
            Output::Idle => {
                let from = self.fold.cursor().next_offset;
                let records: Vec<_> = (0u64..)
                    .zip(log.iter().cloned())
                    .skip(from as usize)
                    .take(at_once)
                    .collect();
                if records.is_empty() {
                    return Ok(());
                }
                Input::Records(records)
            }
            Output::ReadHeads(keys) => {
                let request = ReadRequest {
                    heads: keys,
                    ..ReadRequest::default()
                };
                Input::Heads {
                    heads: store.read(&request).heads,
                    stored: store.cursor,
                }
            }
            Output::Commit(step) => {
                let batch = Arc::clone(&step.batch);
                store.commit(&batch)?;
                Input::Committed
            }
            Output::Stored(_) => return Err("somebody else has committed".to_owned()),
        };
        self.output = self
            .fold
            .step(input)
            .map_err(|error| format!("the partition halts: {error}"))?;
        Ok(())
    }
}
