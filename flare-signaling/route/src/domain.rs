//! The directories, without I/O or clock.

pub mod interest;
pub mod owners;
pub mod services;
pub mod tellers;

/// Why something is not taken into a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The directory is full.
    #[error("{limit} {what} are known, the most that may be")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Two announcers do not agree on the log.
    #[error(
        "the log has {given} partitions for {announcer:?}, and {known} for those who came before"
    )]
    OtherPartitions {
        /// Who came.
        announcer: String,
        /// What he says.
        given: u32,
        /// What the others say.
        known: u32,
    },
    /// There is no such partition.
    #[error("there is no partition {given}: the log has {partitions}")]
    NoPartition {
        /// What was named.
        given: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A later stream of the same incarnation has begun.
    #[error("a later stream of {incarnation:?} has begun")]
    Replaced {
        /// Whose.
        incarnation: String,
    },
}
