//! Where a message stands in the log: a question of administrators, answered by reading, so that writing pays nothing for it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use flare_server_core::message_log::{MessageLog, ReadError};
use flare_storage_model::{
    Applied, ConversationKey, Cursor, LogRecord, LoggedEvent, MessageStore, RecordError,
    StoreError, apply, partition_of, record,
};
use futures::{StreamExt, stream};
use ulid::Ulid;

/// One read of the log while the place is narrowed down.
const PROBE_BYTES: usize = 16 * 1024;
/// One read of the log while records are gone through.
const SCAN_BYTES: usize = 1 << 20;
/// Partitions that are gone through at the same time.
const SCANS_AT_ONCE: usize = 4;
/// In a log that several processes write, a group may have landed so much later than it was decided, or be of a clock that differs by so much,
/// without being in the way. Milliseconds.
pub const SHARED_SLACK_MS: i64 = 120_000;

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

/// Looks for messages in all partitions of the log, whoever works on them.
///
/// What the store holds is looked for in the partition of its conversation, by time: a message id begins with its event's time, and that never falls
/// from record to record of those that count. What the store does not hold yet is found by folding each partition above the store's cursor, so that a
/// record without effect is not taken for one that counts.
///
/// In a log that several processes write, stale and doubled groups lie among the valid ones, with times of their own. So it is looked
/// around the time with a margin ([`SHARED_SLACK_MS`]), and if that finds nothing, from the beginning. Of doubled records
/// the offset is the first one's.
pub struct LogSearch {
    log: Arc<dyn MessageLog>,
    store: Arc<dyn MessageStore>,
    slack_ms: i64,
}

impl LogSearch {
    /// In this log, and the store that follows it.
    pub fn new(log: Arc<dyn MessageLog>, store: Arc<dyn MessageStore>) -> Self {
        let slack_ms = if log.is_shared() { SHARED_SLACK_MS } else { 0 };
        Self {
            log,
            store,
            slack_ms,
        }
    }

    /// Where the tenant's message is; None: nowhere.
    ///
    /// # Errors
    /// Nobody knows.
    pub async fn find(&self, tenant: &str, id: Ulid) -> Result<Option<Found>, FindError> {
        if let Some((key, _)) = self.store.locate(id).await? {
            return self.find_of(tenant, &key, id).await;
        }
        // In this order: what the store does not have after it said how far it is, is above that.
        let mut cursors = Vec::new();
        for partition in 0..self.log.partitions() {
            cursors.push((partition, self.store.cursor(partition).await?));
        }
        if let Some((key, _)) = self.store.locate(id).await? {
            return self.find_of(tenant, &key, id).await;
        }
        let scans = cursors
            .into_iter()
            .map(|(partition, cursor)| self.find_above(partition, cursor, id));
        let mut scans = stream::iter(scans).buffer_unordered(SCANS_AT_ONCE);
        while let Some(found) = scans.next().await {
            match found {
                Ok(Some((offset, event))) => {
                    let is_theirs = *event.key().tenant == *tenant;
                    return Ok(is_theirs.then(|| at(offset, &event)));
                }
                Ok(None) => {}
                // The store has gone on, and the log was trimmed behind it.
                Err(FindError::Log(ReadError::Trimmed { .. })) => {
                    if let Some((key, _)) = self.store.locate(id).await? {
                        return Ok((*key.tenant == *tenant).then_some(Found::Trimmed));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What the store says is of this conversation.
    async fn find_of(
        &self,
        tenant: &str,
        key: &ConversationKey,
        id: Ulid,
    ) -> Result<Option<Found>, FindError> {
        if *key.tenant != *tenant {
            return Ok(None);
        }
        let partition = partition_of(key, self.log.partitions());
        // Whatever has been committed by now may be what was asked for.
        let end = self.store.cursor(partition).await?.next_offset;
        Ok(Some(self.find_stored(partition, id, end).await?))
    }

    /// What the store does not hold: it counts, and lies above the cursor.
    async fn find_above(
        &self,
        partition: u32,
        cursor: Cursor,
        id: Ulid,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        let mut state = cursor;
        let wanted = |event: &&LoggedEvent| event.message_id() == id;
        self.scan(partition, cursor.next_offset, |offset, record| match apply(
            &mut state, offset, record,
        ) {
            Applied::Group(events) => Seen::of(events.iter().find(wanted)),
            Applied::Takeover | Applied::Skipped(_) => Seen::Other,
        })
        .await
    }

    /// What the store holds, so that it is below `end` or was trimmed.
    async fn find_stored(&self, partition: u32, id: Ulid, end: u64) -> Result<Found, FindError> {
        loop {
            let floor = self.log.floor(partition).await?;
            match self.find_by_time(partition, id, floor..end).await {
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
        partition: u32,
        id: Ulid,
        within: Range<u64>,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        let time_ms = i64::try_from(id.timestamp_ms()).unwrap_or(i64::MAX);
        let (earliest_ms, latest_ms) = (
            time_ms.saturating_sub(self.slack_ms),
            time_ms.saturating_add(self.slack_ms),
        );
        // Everything below `low` is of an earlier time, everything from `high` on is not.
        let (mut low, mut high) = (within.start, within.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.group_from(partition, middle, high).await? {
                Some((offset, last_ms)) if last_ms < earliest_ms => low = offset + 1,
                Some(_) | None => high = middle,
            }
        }
        let found = self.scan_for(partition, low, id, latest_ms).await?;
        if found.is_none() && low > within.start && self.slack_ms > 0 {
            return self.scan_for(partition, within.start, id, latest_ms).await;
        }
        Ok(found)
    }

    /// Goes through the records from `from` on, as long as they are not of a later time.
    async fn scan_for(
        &self,
        partition: u32,
        from: u64,
        id: Ulid,
        latest_ms: i64,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        self.scan(partition, from, |_, record| match record {
            LogRecord::Group { events, .. } => {
                match events.iter().find(|it| it.message_id() == id) {
                    Some(event) => Seen::Wanted(Box::new(event.clone())),
                    None if events
                        .first()
                        .is_some_and(|it| it.header().time_ms > latest_ms) =>
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
    async fn group_from(
        &self,
        partition: u32,
        from: u64,
        end: u64,
    ) -> Result<Option<(u64, i64)>, FindError> {
        let mut next = from;
        while next < end {
            let read = self.log.read(partition, next, PROBE_BYTES).await?;
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
        partition: u32,
        from: u64,
        mut look: impl FnMut(u64, &LogRecord) -> Seen,
    ) -> Result<Option<(u64, LoggedEvent)>, FindError> {
        let mut next = from;
        loop {
            let read = self.log.read(partition, next, SCAN_BYTES).await?;
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
