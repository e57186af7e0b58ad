//! Where a message stands in the log: a question of administrators, answered by reading, so that writing pays nothing for it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use flare_server_core::message_log::{MessageLog, ReadError};
use flare_storage_model::{
    Applied, LogRecord, LoggedEvent, MessageStore, RecordError, StoreError, apply, record,
};
use ulid::Ulid;

/// One read of the log while the place is narrowed down.
const PROBE_BYTES: usize = 16 * 1024;
/// One read of the log while records are gone through.
const SCAN_BYTES: usize = 1 << 20;

/// Where a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// In the record at this offset.
    At {
        /// The record's.
        offset: u64,
        /// The encoded event.
        event: Bytes,
    },
    /// In the store; the log has given its room back.
    Trimmed,
}

/// Why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not decode.
    #[error("record at offset {offset}: {source}")]
    Undecodable {
        /// Where.
        offset: u64,
        /// Why.
        source: RecordError,
    },
}

/// Looks for messages in one partition of the log.
///
/// What the store holds is looked for by time: a message id begins with its event's time, and that never falls from record to record. What it does
/// not hold yet is found by folding the log above the store's cursor, so that a record without effect is not taken for one that counts.
///
/// Sound for the embedded log, where a record without effect can follow a takeover only: a log with several writers may hold a stale or doubled group
/// among valid ones, and then the offset is that of the first record which bears the message.
pub struct LogSearch {
    partition: u32,
    log: Arc<dyn MessageLog>,
    store: Arc<dyn MessageStore>,
}

impl LogSearch {
    /// In this partition of the log, and the store that follows it.
    pub fn new(partition: u32, log: Arc<dyn MessageLog>, store: Arc<dyn MessageStore>) -> Self {
        Self {
            partition,
            log,
            store,
        }
    }

    /// Where the tenant's message is; None: nowhere.
    pub async fn find(&self, tenant: &str, id: Ulid) -> Result<Option<Found>, FindError> {
        // In this order: what the store does not have after it said how far it is, is above that.
        let cursor = self.store.cursor(self.partition).await?;
        let wanted = |event: &LoggedEvent| event.message_id() == id;
        let found = match self.store.locate(id).await? {
            Some((key, _)) if *key.tenant != *tenant => return Ok(None),
            Some(_) => {
                // Whatever has been committed meanwhile may be what was asked for.
                let end = self.store.cursor(self.partition).await?.next_offset;
                return Ok(Some(self.find_stored(id, end).await?));
            }
            None => {
                let mut state = cursor;
                self.scan(cursor.next_offset, |offset, record| {
                    match apply(&mut state, offset, record) {
                        Applied::Group(events) => Seen::of(events.iter().find(|it| wanted(it))),
                        Applied::Takeover | Applied::Skipped(_) => Seen::Other,
                    }
                })
                .await
            }
        };
        match found {
            Ok(found) => Ok(found
                .filter(|(_, event)| *event.key().tenant == *tenant)
                .map(|(offset, event)| at(offset, &event))),
            // The store has gone on, and the log was trimmed behind it.
            Err(FindError::Log(ReadError::Trimmed { .. })) => {
                let stored = self.store.locate(id).await?;
                Ok(stored
                    .filter(|(key, _)| *key.tenant == *tenant)
                    .map(|_| Found::Trimmed))
            }
            Err(error) => Err(error),
        }
    }

    /// What the store holds, so that it is below `end` or was trimmed.
    async fn find_stored(&self, id: Ulid, end: u64) -> Result<Found, FindError> {
        let time_ms = i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX);
        loop {
            let floor = self.log.floor(self.partition).await?;
            match self.find_by_time(id, time_ms, floor..end).await {
                Ok(found) => {
                    return Ok(found.map_or(Found::Trimmed, |(offset, event)| at(offset, &event)));
                }
                // Trimmed while it was read; the floor only rises.
                Err(FindError::Log(ReadError::Trimmed { .. })) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn find_by_time(
        &self,
        id: Ulid,
        time_ms: i64,
        within: Range<u64>,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        // Everything below `low` is of an earlier time, everything from `high` on is not.
        let (mut low, mut high) = (within.start, within.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.group_from(middle, high).await? {
                Some((offset, last_ms)) if last_ms < time_ms => low = offset + 1,
                Some(_) | None => high = middle,
            }
        }
        self.scan(low, |_, record| match record {
            LogRecord::Group { events, .. } => {
                match events.iter().find(|it| it.message_id() == id) {
                    Some(event) => Seen::Wanted(Box::new(event.clone())),
                    None if events
                        .first()
                        .is_some_and(|it| it.header().time_ms > time_ms) =>
                    {
                        Seen::Beyond
                    }
                    None => Seen::Other,
                }
            }
            LogRecord::Takeover { .. } => Seen::Other,
        })
        .await
    }

    /// The first group at or above `from` and below `end`, with the time of its last event.
    async fn group_from(&self, from: u64, end: u64) -> Result<Option<(u64, i64)>, FindError> {
        let mut next = from;
        while next < end {
            let read = self.log.read(self.partition, next, PROBE_BYTES).await?;
            if read.records.is_empty() {
                break;
            }
            for (offset, bytes) in read.records {
                if offset >= end {
                    return Ok(None);
                }
                if let LogRecord::Group { events, .. } = decode(offset, bytes)?
                    && let Some(last) = events.last()
                {
                    return Ok(Some((offset, last.header().time_ms)));
                }
                next = offset + 1;
            }
        }
        Ok(None)
    }

    /// Goes through the records from `from` on, up to the durable end.
    async fn scan(
        &self,
        from: u64,
        mut look: impl FnMut(u64, &LogRecord) -> Seen,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        let mut next = from;
        loop {
            let read = self.log.read(self.partition, next, SCAN_BYTES).await?;
            if read.records.is_empty() {
                return Ok(None);
            }
            for (offset, bytes) in read.records {
                match look(offset, &decode(offset, bytes)?) {
                    Seen::Wanted(event) => return Ok(Some((offset, *event))),
                    Seen::Beyond => return Ok(None),
                    Seen::Other => next = offset + 1,
                }
            }
        }
    }
}

/// What a record is to one who looks for a message.
enum Seen {
    Wanted(Box<LoggedEvent>),
    Other,
    /// It does not come any more.
    Beyond,
}

impl Seen {
    fn of(event: Option<&LoggedEvent>) -> Self {
        event.map_or(Self::Other, |it| Self::Wanted(Box::new(it.clone())))
    }
}

fn at(offset: u64, event: &LoggedEvent) -> Found {
    Found::At {
        offset,
        event: event.event().clone(),
    }
}

fn decode(offset: u64, bytes: Bytes) -> Result<LogRecord, FindError> {
    record::decode(bytes).map_err(|source| FindError::Undecodable { offset, source })
}
