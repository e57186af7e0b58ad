//! `flare.im.message.persisted` without a second write: the message log, up to the store's cursor.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use flare_server_core::{
    event_bus::{BusRecord, EventBus, TopicView, ViewError, ViewRead},
    message_log::{MessageLog, ReadError},
    service::ServiceError,
};
use flare_storage_model::{Applied, Cursor, LogRecord, LogState, LoggedEvent, apply, record};
use tokio::sync::watch;

use crate::{
    application::{
        follow::CommitListener,
        publish::{self, PERSISTED_TOPIC},
        trim::Consumed,
    },
    domain::fold::{POSITIONS_PER_RECORD, Step},
};

/// One read holds no more than this, unless it is one record.
const READ_BYTES: usize = 1 << 20;

/// The events of the valid log that the store has committed: an event's position is its record's offset × 1024 + its index in the record.
///
/// Recent events are served from memory, older ones from the log. A read that starts in the middle of the log takes the first group that it
/// meets as valid and goes on from there. That is sound for the embedded log, and only for it: its folder is locked by one process, whose owner
/// appends one group at a time and makes a new epoch after every outcome that it does not know, so the file holds no stale group
/// before which a valid one of another epoch could stand, other than behind a takeover, which `apply` judges.
pub struct EmbeddedPersistedView {
    partition: u32,
    log: Arc<dyn MessageLog>,
    floor: AtomicU64,
    end: watch::Sender<u64>,
    recent: Mutex<Recent>,
    memory_bytes: usize,
}

/// The newest events, contiguous up to the end.
struct Recent {
    /// Everything at or above this position is in `records`.
    from: u64,
    records: VecDeque<BusRecord>,
    bytes: usize,
}

impl EmbeddedPersistedView {
    /// Shows what is below `cursor`, of a log that begins at offset `floor`.
    pub fn new(
        partition: u32,
        log: Arc<dyn MessageLog>,
        floor: u64,
        cursor: Cursor,
        memory_bytes: usize,
    ) -> Self {
        let end = cursor.next_offset * POSITIONS_PER_RECORD;
        Self {
            partition,
            log,
            floor: AtomicU64::new(floor * POSITIONS_PER_RECORD),
            end: watch::Sender::new(end),
            recent: Mutex::new(Recent {
                from: end,
                records: VecDeque::new(),
                bytes: 0,
            }),
            memory_bytes,
        }
    }

    /// The first offset of the log that a consumer at `position` still needs.
    fn offset_of(position: u64) -> u64 {
        position / POSITIONS_PER_RECORD
    }

    fn read_memory(&self, from: u64, max_records: usize) -> Option<ViewRead> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if from < recent.from {
            return None;
        }
        let start = recent.records.partition_point(|it| it.position < from);
        let mut bytes = 0;
        let records: Vec<_> = recent
            .records
            .range(start..)
            .take(max_records)
            .take_while(|it| {
                let fits = bytes == 0 || bytes + it.payload.len() <= READ_BYTES;
                bytes += it.payload.len();
                fits
            })
            .cloned()
            .collect();
        let next = if start + records.len() == recent.records.len() {
            // Nothing more is there. Records without events move the end too; the end follows the events of a commit.
            records
                .last()
                .map_or(from, |it| it.position + 1)
                .max(*self.end.borrow())
        } else {
            records.last().map_or(from, |it| it.position + 1)
        };
        Some(ViewRead { records, next })
    }

    async fn read_log(&self, from: u64, max_records: usize) -> Result<ViewRead, ViewError> {
        let offset = Self::offset_of(from);
        let end = *self.end.borrow();
        let read = self
            .log
            .read(self.partition, offset, READ_BYTES)
            .await
            .map_err(|error| match error {
                ReadError::Trimmed { floor, .. } => ViewError::Trimmed {
                    floor: floor * POSITIONS_PER_RECORD,
                },
                ReadError::Closed(_) => ViewError::Closed,
                other => ViewError::Unavailable(other.to_string()),
            })?;
        let mut state: Option<LogState> = None;
        let mut records = Vec::new();
        let mut next = from;
        for (offset, bytes) in read.records {
            let first = offset * POSITIONS_PER_RECORD;
            if first >= end || records.len() >= max_records {
                break;
            }
            let decoded = record::decode(bytes).map_err(|error| {
                ViewError::Unavailable(format!("record at offset {offset}: {error}"))
            })?;
            let state = state.get_or_insert_with(|| starting_at(offset, &decoded));
            if let Applied::Group(events) = apply(state, offset, &decoded) {
                records.extend(
                    (first..)
                        .zip(events)
                        .filter(|(position, _)| *position >= from)
                        .map(|(at, event)| show(at, event)),
                );
            }
            next = first + POSITIONS_PER_RECORD;
        }
        if records.len() > max_records {
            records.truncate(max_records);
            next = records.last().map_or(from, |it| it.position + 1);
        }
        Ok(ViewRead { records, next })
    }
}

/// The state in which the record at `offset` counts.
fn starting_at(offset: u64, record: &LogRecord) -> LogState {
    let mut state = LogState {
        next_offset: offset,
        ..LogState::default()
    };
    if let LogRecord::Group { epoch, n, .. } = record {
        state.epoch = *epoch;
        state.n = *n;
    }
    state
}

fn show(position: u64, event: &LoggedEvent) -> BusRecord {
    let (key, payload) = publish::entry(event);
    BusRecord {
        key,
        payload,
        position,
    }
}

#[async_trait]
impl CommitListener for EmbeddedPersistedView {
    async fn committed(&self, step: &Step) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, event) in step.positions.iter().zip(&step.batch.events) {
            recent.bytes += event.event().len();
            recent.records.push_back(show(*position, event));
        }
        while recent.bytes > self.memory_bytes {
            let Some(oldest) = recent.records.pop_front() else {
                break;
            };
            recent.bytes -= oldest.payload.len();
            recent.from = oldest.position + 1;
        }
        // Under the lock: what was given to somebody is below the end.
        self.end
            .send_replace(step.batch.to.next_offset * POSITIONS_PER_RECORD);
    }
}

#[async_trait]
impl TopicView for EmbeddedPersistedView {
    async fn read(&self, from: u64, max_records: usize) -> Result<ViewRead, ViewError> {
        match self.read_memory(from, max_records) {
            Some(read) => Ok(read),
            None => self.read_log(from, max_records).await,
        }
    }

    fn floor(&self) -> u64 {
        self.floor.load(Ordering::Relaxed)
    }

    fn end(&self) -> u64 {
        *self.end.borrow()
    }

    async fn wait_beyond(&self, position: u64) -> Result<(), ViewError> {
        let mut end = self.end.subscribe();
        end.wait_for(|end| *end > position)
            .await
            .map(|_| ())
            .map_err(|_| ViewError::Closed)
    }
}

/// What consumers of the view are done with, the bus knows.
pub struct ViewConsumers {
    /// What they read.
    pub view: Arc<EmbeddedPersistedView>,
    /// Where their cursors are.
    pub bus: Arc<dyn EventBus>,
}

#[async_trait]
impl Consumed for ViewConsumers {
    async fn needed_from(&self, _: u32) -> Result<Option<u64>, ServiceError> {
        let lowest = self.bus.lowest_cursor(PERSISTED_TOPIC).await?;
        Ok(lowest.map(EmbeddedPersistedView::offset_of))
    }

    async fn trimmed(&self, partition: u32) -> Result<(), ServiceError> {
        let floor = self.view.log.floor(partition).await?;
        self.view
            .floor
            .fetch_max(floor * POSITIONS_PER_RECORD, Ordering::Relaxed);
        metrics::gauge!("flare_storage_writer_log_floor_offset").set(floor as f64);
        Ok(())
    }
}
