//! The fold of a partition's log into batches for the store, as a synchronous state machine.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use flare_storage_model::{
    Applied, BrokenInvariant, ConversationKey, Cursor, Head, LogRecord, LoggedEvent, RecordError,
    SkipReason, StoreBatch, apply, record,
};

/// Heads that are kept between batches, if nobody says otherwise.
pub const KEPT_HEADS: usize = 50_000;

/// Events a record may hold at most, as a factor between a record's offset and its events' positions.
pub const POSITIONS_PER_RECORD: u64 = 1_024;

/// What happens to the fold.
#[derive(Debug)]
pub enum Input {
    /// Records of the log, by rising offset without a gap, from the cursor on.
    Records(Vec<(u64, Bytes)>),
    /// The answer to `Output::ReadHeads`.
    Heads {
        /// In the order of its keys.
        heads: Vec<Option<Head>>,
        /// The store's cursor, read after the heads: if it is beyond the fold's, somebody else commits to the partition, and they may be too new.
        stored: Cursor,
    },
    /// The batch of the last `Output::Commit` is committed.
    Committed,
}

/// What the fold asks for next.
#[derive(Debug)]
pub enum Output {
    /// The store's heads of these conversations.
    ReadHeads(Vec<ConversationKey>),
    /// Commit this.
    Commit(Step),
    /// The store has this already: it is only to be shown, and needs no answer. Records that lie above it are to be given again.
    Stored(Step),
    /// Nothing: the next records.
    Idle,
}

/// One batch with what its consumers need beside it.
#[derive(Clone, Debug)]
pub struct Step {
    /// For the store.
    pub batch: Arc<StoreBatch>,
    /// Where each event of the batch stands in the public stream.
    pub positions: Vec<u64>,
    /// Why records were passed over.
    pub skipped: Vec<(u64, SkipReason)>,
}

/// Why a partition stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A record does not decode.
    #[error("record at offset {offset}: {source}")]
    Undecodable {
        /// Where.
        offset: u64,
        /// Why.
        source: RecordError,
    },
    /// An event does not follow from its conversation's head.
    #[error("record at offset {offset}, {key}: {source}")]
    Broken {
        /// Where.
        offset: u64,
        /// The conversation.
        key: ConversationKey,
        /// What is wrong.
        source: BrokenInvariant,
    },
    /// The store's cursor does not follow from the log that lies below it.
    #[error("up to offset {} the log gives {log:?}, the store has {stored:?}", log.next_offset)]
    Diverged {
        /// What the log says.
        log: Box<Cursor>,
        /// What the store says.
        stored: Box<Cursor>,
    },
    /// An input came that the fold did not ask for.
    #[error("input {input} while the fold was {state}")]
    OutOfTurn {
        /// What came.
        input: &'static str,
        /// What was waited for.
        state: &'static str,
    },
}

/// Folds one partition. Deterministic: the same inputs give the same outputs.
///
/// Events are judged by heads as of the fold's cursor. The store's heads are that only while nobody else commits to the partition, and the store is
/// not ahead after a crash: where it is, the events up to its cursor are passed on as they are stored, since below it the store is the truth.
#[derive(Debug)]
pub struct WriterFold {
    partition: u32,
    /// What is committed and was given out.
    cursor: Cursor,
    /// What the store is known to hold; not below `cursor` while something is to be passed on.
    stored: Cursor,
    /// Heads as of `cursor`, of conversations that were touched lately.
    heads: HashMap<ConversationKey, Head>,
    /// Beyond it all are dropped and read again from the store.
    kept_heads: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Heads are being read for these records.
    Reading {
        records: Vec<(u64, LogRecord)>,
        keys: Vec<ConversationKey>,
    },
    Committing(Arc<StoreBatch>),
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Reading { .. } => "waiting for heads",
            Self::Committing(_) => "waiting for a commit",
        }
    }
}

impl WriterFold {
    /// Goes on from what the store has committed.
    pub fn new(partition: u32, cursor: Cursor) -> Self {
        Self::resuming(partition, cursor, cursor)
    }

    /// Goes on from `cursor`, which is not above what the store has committed.
    pub fn resuming(partition: u32, cursor: Cursor, stored: Cursor) -> Self {
        Self {
            partition,
            cursor,
            stored,
            heads: HashMap::new(),
            kept_heads: KEPT_HEADS,
            state: State::Idle,
        }
    }

    /// What is committed and was given out; `next_offset` is where the next records begin.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Keeps at most so many heads between batches from now on.
    pub fn keep_heads(&mut self, most: usize) {
        self.kept_heads = most;
    }

    /// Takes an input and says what comes next. After an error the fold must not be used again: the partition stops.
    pub fn step(&mut self, input: Input) -> Result<Output, FoldError> {
        match (std::mem::replace(&mut self.state, State::Idle), input) {
            (State::Idle, Input::Records(records)) => self.take(records),
            (State::Reading { records, .. }, Input::Heads { stored, .. })
                if stored.next_offset > self.cursor.next_offset =>
            {
                self.stored = stored;
                self.pass_on(records)
            }
            (State::Reading { records, keys }, Input::Heads { heads, .. }) => {
                self.heads.extend(
                    keys.into_iter()
                        .zip(heads)
                        .map(|(key, head)| (key, head.unwrap_or_default())),
                );
                self.gather(records)
            }
            (State::Committing(batch), Input::Committed) => {
                self.cursor = batch.to;
                self.heads.extend(batch.heads.iter().cloned());
                if self.heads.len() > self.kept_heads {
                    self.heads.clear();
                }
                Ok(Output::Idle)
            }
            (state, input) => {
                let input = match input {
                    Input::Records(_) => "records",
                    Input::Heads { .. } => "heads",
                    Input::Committed => "committed",
                };
                Err(FoldError::OutOfTurn {
                    input,
                    state: state.name(),
                })
            }
        }
    }

    fn take(&mut self, records: Vec<(u64, Bytes)>) -> Result<Output, FoldError> {
        let mut decoded = Vec::with_capacity(records.len());
        for (offset, bytes) in records {
            let record = record::decode(bytes)
                .map_err(|source| FoldError::Undecodable { offset, source })?;
            decoded.push((offset, record));
        }
        if decoded.is_empty() {
            return Ok(Output::Idle);
        }
        if self.stored.next_offset > self.cursor.next_offset {
            return self.pass_on(decoded);
        }
        let keys = self.unknown(&decoded);
        if keys.is_empty() {
            return self.gather(decoded);
        }
        self.state = State::Reading {
            records: decoded,
            keys: keys.clone(),
        };
        Ok(Output::ReadHeads(keys))
    }

    /// Conversations whose head is not at hand, in the order of the log.
    fn unknown(&self, records: &[(u64, LogRecord)]) -> Vec<ConversationKey> {
        let mut state = self.cursor;
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        for (offset, record) in records {
            if let Applied::Group(events) = apply(&mut state, *offset, record) {
                for event in events {
                    if !self.heads.contains_key(event.key()) && seen.insert(event.key()) {
                        keys.push(event.key().clone());
                    }
                }
            }
        }
        keys
    }

    /// What of these records the store has already.
    fn pass_on(&mut self, records: Vec<(u64, LogRecord)>) -> Result<Output, FoldError> {
        // They were as of the cursor.
        self.heads.clear();
        let from = self.cursor;
        let mut events = Vec::new();
        let mut positions = Vec::new();
        let mut skipped = Vec::new();
        for (offset, record) in records {
            if offset >= self.stored.next_offset {
                break;
            }
            match apply(&mut self.cursor, offset, &record) {
                Applied::Group(group) => {
                    positions.extend(positions_of(offset).take(group.len()));
                    events.extend_from_slice(group);
                }
                Applied::Takeover => {}
                Applied::Skipped(reason) => skipped.push((offset, reason)),
            }
        }
        if self.cursor.next_offset == self.stored.next_offset && self.cursor != self.stored {
            return Err(FoldError::Diverged {
                log: Box::new(self.cursor),
                stored: Box::new(self.stored),
            });
        }
        let batch = Arc::new(StoreBatch {
            partition: self.partition,
            from,
            to: self.cursor,
            events,
            heads: Vec::new(),
        });
        Ok(Output::Stored(Step {
            batch,
            positions,
            skipped,
        }))
    }

    fn gather(&mut self, records: Vec<(u64, LogRecord)>) -> Result<Output, FoldError> {
        let mut to = self.cursor;
        let mut events: Vec<LoggedEvent> = Vec::new();
        let mut positions = Vec::new();
        let mut skipped = Vec::new();
        // In the order of first touch, so that a batch does not depend on a map's order.
        let mut touched: Vec<(ConversationKey, Head)> = Vec::new();
        let mut places: HashMap<ConversationKey, usize> = HashMap::new();
        for (offset, record) in records {
            match apply(&mut to, offset, &record) {
                Applied::Takeover => continue,
                Applied::Skipped(reason) => {
                    skipped.push((offset, reason));
                    continue;
                }
                Applied::Group(_) => {}
            }
            let LogRecord::Group { events: group, .. } = record else {
                continue;
            };
            for (position, event) in positions_of(offset).zip(group) {
                let place = match places.get(event.key()) {
                    Some(place) => *place,
                    None => {
                        let head = self.heads.get(event.key()).cloned().unwrap_or_default();
                        touched.push((event.key().clone(), head));
                        places.insert(event.key().clone(), touched.len() - 1);
                        touched.len() - 1
                    }
                };
                if let Some((key, head)) = touched.get_mut(place) {
                    head.apply(event.header())
                        .map_err(|source| FoldError::Broken {
                            offset,
                            key: key.clone(),
                            source,
                        })?;
                }
                positions.push(position);
                events.push(event);
            }
        }
        let batch = Arc::new(StoreBatch {
            partition: self.partition,
            from: self.cursor,
            to,
            events,
            heads: touched,
        });
        self.state = State::Committing(Arc::clone(&batch));
        Ok(Output::Commit(Step {
            batch,
            positions,
            skipped,
        }))
    }
}

/// Where the events of the record at `offset` stand in the stream.
fn positions_of(offset: u64) -> impl Iterator<Item = u64> {
    offset * POSITIONS_PER_RECORD..
}

#[cfg(test)]
mod tests;
