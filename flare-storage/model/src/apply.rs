//! Which records of the log count: one pure function for confirmation, recovery, storage-writer and simulation.

use crate::{
    logged_event::LoggedEvent,
    record::{Epoch, LogRecord},
};

/// How far a partition's log is folded, and what the next record must be to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogState {
    /// The offset of the next record: everything below is folded.
    pub next_offset: u64,
    /// Whose the log is; number 0: nobody's yet.
    pub epoch: Epoch,
    /// The index that the epoch's next group must have.
    pub n: u64,
    /// The time of the last event that counted, Unix milliseconds: what is decided next is not before it.
    pub time_ms: i64,
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Applied<'a> {
    /// The log has a new owner.
    Takeover,
    /// The group counts: these are the log's next events.
    Group(&'a [LoggedEvent]),
    /// The record has no effect, now and for ever. Callers count these in a metric.
    Skipped(SkipReason),
}

/// Why a record has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipReason {
    /// The offset was folded before.
    #[error("offset is below {next_offset}, which is folded")]
    Repeated {
        /// The next offset that is not folded.
        next_offset: u64,
    },
    /// A takeover whose number is not above the current one.
    #[error("takeover {number} came after takeover {current}")]
    StaleTakeover {
        /// The record's epoch number.
        number: u64,
        /// The current one.
        current: u64,
    },
    /// A group of another epoch than the current one.
    #[error("group of epoch {number} in epoch {current}")]
    OtherEpoch {
        /// The record's epoch number.
        number: u64,
        /// The current one.
        current: u64,
    },
    /// A group of the current epoch that is doubled, or before which one is missing.
    #[error("group {n} came where group {expected} belongs")]
    OtherIndex {
        /// The record's index.
        n: u64,
        /// The next one.
        expected: u64,
    },
}

impl SkipReason {
    /// A label for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Repeated { .. } => "repeated",
            Self::StaleTakeover { .. } => "stale_takeover",
            Self::OtherEpoch { .. } => "other_epoch",
            Self::OtherIndex { .. } => "other_index",
        }
    }
}

/// Folds the record at `offset` into the state. A takeover counts iff its number is above the current one; it sets the epoch and n = 0. A
/// group counts iff its epoch is the current one and its n is the next one. All else moves `next_offset` only.
///
/// Records come by rising offset; one that was folded already is skipped. That no offset is missing is the log's obligation.
pub fn apply<'a>(state: &mut LogState, offset: u64, record: &'a LogRecord) -> Applied<'a> {
    if offset < state.next_offset {
        return Applied::Skipped(SkipReason::Repeated {
            next_offset: state.next_offset,
        });
    }
    state.next_offset = offset + 1;
    let current = state.epoch.number;
    match record {
        LogRecord::Takeover { epoch, .. } => {
            if epoch.number <= current {
                let number = epoch.number;
                return Applied::Skipped(SkipReason::StaleTakeover { number, current });
            }
            state.epoch = *epoch;
            state.n = 0;
            Applied::Takeover
        }
        LogRecord::Group { epoch, n, events } => {
            #[cfg(feature = "mutants")]
            if *epoch != state.epoch && crate::mutants::Mutant::SequenceStale.is_made() {
                return Applied::Group(events);
            }
            // Before the first takeover the log is nobody's, not epoch 0's.
            if *epoch != state.epoch || current == 0 {
                let number = epoch.number;
                return Applied::Skipped(SkipReason::OtherEpoch { number, current });
            }
            let is_next = *n == state.n;
            #[cfg(feature = "mutants")]
            let is_next = is_next || crate::mutants::Mutant::NoIndex.is_made();
            if !is_next {
                return Applied::Skipped(SkipReason::OtherIndex {
                    n: *n,
                    expected: state.n,
                });
            }
            state.n += 1;
            if let Some(last) = events.last() {
                state.time_ms = state.time_ms.max(last.header().time_ms);
            }
            Applied::Group(events)
        }
    }
}
