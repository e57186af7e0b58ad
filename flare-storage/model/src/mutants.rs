//! Mistakes for the simulation to find: each breaks one rule that keeps the promises. Built with the feature `mutants` only, which no shipped build has, and
//! even then none is made unless it is [made](make).

use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// A group is acked wherever it is durable, not only where its index says.
    AckOnDurable = 1,
    /// A group counts whatever its index is.
    NoIndex,
    /// What the store does not hold is forgotten.
    EvictAboveCursor,
    /// A new owner does not learn what the log says above the store's cursor.
    RecoverWithoutFold,
    /// The group of a deposed owner counts.
    SequenceStale,
    /// An authorisation counts that is older than the last member event.
    OldAuthorisation,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::AckOnDurable,
        Self::NoIndex,
        Self::EvictAboveCursor,
        Self::RecoverWithoutFold,
        Self::SequenceStale,
        Self::OldAuthorisation,
    ];

    /// Whether this mistake is made.
    pub fn is_made(self) -> bool {
        MADE.load(Ordering::Relaxed) == self as u8
    }
}

/// 0: none.
static MADE: AtomicU8 = AtomicU8::new(0);

/// From here on the whole process makes this mistake, or none.
pub fn make(mutant: Option<Mutant>) {
    MADE.store(mutant.map_or(0, |it| it as u8), Ordering::Relaxed);
}
