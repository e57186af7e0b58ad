use async_trait::async_trait;

use super::BusRecord;

/// The content of a topic that is kept elsewhere.
///
/// Positions ascend and need not be dense. What lies between [`floor`](Self::floor) and
/// [`end`](Self::end) can be read, and does not change.
#[async_trait]
pub trait TopicView: Send + Sync + 'static {
    /// Records at position `from` and after it, in order: at most `max_records`. If `from` is
    /// below the end, it returns records, or at least a greater position to go on from.
    ///
    /// # Errors
    /// [`ViewError`].
    async fn read(&self, from: u64, max_records: usize) -> Result<ViewRead, ViewError>;

    /// The lowest position that can be read.
    fn floor(&self) -> u64;

    /// A position beyond that of every record there is. It only grows.
    fn end(&self) -> u64;

    /// Waits until the end is greater than `position`. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`ViewError::Closed`].
    async fn wait_beyond(&self, position: u64) -> Result<(), ViewError>;
}

/// What a read of a view returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewRead {
    /// In ascending order of position.
    pub records: Vec<BusRecord>,
    /// Where to go on: greater than the position of every record here, and nothing lies between.
    pub next: u64,
}

/// Why a view has nothing to return.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// What was asked for is gone.
    #[error("gone, the topic begins at position {floor}")]
    Trimmed {
        /// The lowest position that can be read.
        floor: u64,
    },
    /// It cannot be read at the moment; worth trying again.
    #[error("{0}")]
    Unavailable(String),
    /// Nothing comes any more.
    #[error("closed")]
    Closed,
}
