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

/// Heads that are kept between batches; beyond it all are dropped and read again from the store.
const KEPT_HEADS: usize = 50_000;

/// Events a record may hold at most, as a factor between a record's offset and its events' positions.
pub const POSITIONS_PER_RECORD: u64 = 1_024;

/// What happens to the fold.
#[derive(Debug)]
pub enum Input {
    /// Records of the log, by rising offset without a gap, from the cursor on.
    Records(Vec<(u64, Bytes)>),
    /// The answer to `Output::ReadHeads`, in the order of its keys.
    Heads(Vec<Option<Head>>),
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
#[derive(Debug)]
pub struct WriterFold {
    partition: u32,
    /// What is committed.
    cursor: Cursor,
    /// Heads as of `cursor`, of conversations that were touched lately.
    heads: HashMap<ConversationKey, Head>,
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
        Self {
            partition,
            cursor,
            heads: HashMap::new(),
            state: State::Idle,
        }
    }

    /// What is committed; `next_offset` is where the next records begin.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Takes an input and says what comes next. After an error the fold must not be used again: the partition stops.
    pub fn step(&mut self, input: Input) -> Result<Output, FoldError> {
        match (std::mem::replace(&mut self.state, State::Idle), input) {
            (State::Idle, Input::Records(records)) => self.take(records),
            (State::Reading { records, keys }, Input::Heads(heads)) => {
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
                if self.heads.len() > KEPT_HEADS {
                    self.heads.clear();
                }
                Ok(Output::Idle)
            }
            (state, input) => {
                let input = match input {
                    Input::Records(_) => "records",
                    Input::Heads(_) => "heads",
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
            for (index, event) in (0u64..).zip(group) {
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
                positions.push(offset * POSITIONS_PER_RECORD + index);
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
