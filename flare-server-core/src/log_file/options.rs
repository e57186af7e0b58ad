use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::format::SECTOR;
use super::{LogError, MAX_RECORD_BYTES};
use crate::clock::{Clock, SystemClock};

/// Called once, with the [`LogError::Fatal`], when a log is poisoned.
pub type FatalHandler = Arc<dyn Fn(&LogError) + Send + Sync>;

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is synced. Nothing that was acknowledged is lost.
    #[default]
    Synced,
    /// When it is written. A process crash loses nothing; a power loss may lose what was not yet
    /// synced by [`LogFile::sync`](super::LogFile::sync), always a suffix.
    Lazy,
}

/// When old segments are removed although nobody said that they may go. Each removal is reported
/// with `tracing::warn`. The segment in use always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Segments whose newest record is older than this are removed.
    pub max_age: Option<Duration>,
    /// The oldest segments are removed while all of them together are larger than this.
    pub max_bytes: Option<u64>,
    /// Only what is safe elsewhere is removed, as [`LogFile::trim`](super::LogFile::trim) is told. A log that was just opened
    /// has been told nothing.
    pub only_stored: bool,
}

/// How a [`LogFile`](super::LogFile) behaves.
#[derive(Clone)]
pub struct LogOptions {
    /// Size of new segments in bytes, a multiple of 512 and at least 1024. Existing segments keep
    /// theirs. Small segments lower the record limit, see [`LogOptions::record_limit`].
    pub segment_bytes: u64,
    /// Appends are refused while less than this is free on the disk, in bytes, and taken again
    /// when twice as much is.
    pub min_free_bytes: u64,
    /// When an append counts as done.
    pub durability: Durability,
    /// When old segments are removed unasked.
    pub retention: Retention,
    /// Whether a thread prepares the next segment while the present one fills, so that no append
    /// waits for it.
    pub prepare_ahead: bool,
    /// Called when the log is poisoned. The owner of the process ends it here: nothing that was
    /// written after the last successful sync can be trusted.
    pub on_fatal: Option<FatalHandler>,
    /// The clock that stamps segments, for [`Retention::max_age`].
    pub clock: Arc<dyn Clock>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            min_free_bytes: 256 << 20,
            durability: Durability::Synced,
            retention: Retention::default(),
            prepare_ahead: true,
            on_fatal: None,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for LogOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("min_free_bytes", &self.min_free_bytes)
            .field("durability", &self.durability)
            .field("retention", &self.retention)
            .field("prepare_ahead", &self.prepare_ahead)
            .finish_non_exhaustive()
    }
}

impl LogOptions {
    /// The largest record that fits, in bytes: [`MAX_RECORD_BYTES`], or less if a segment is
    /// smaller than that.
    pub fn record_limit(&self) -> usize {
        let room = usize::try_from(self.segment_bytes).unwrap_or(usize::MAX);
        room.saturating_sub(SECTOR + super::format::FRAME_HEADER + super::format::RECORD_HEADER)
            .min(MAX_RECORD_BYTES)
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        let sector = SECTOR as u64;
        if self.segment_bytes < 2 * sector || !self.segment_bytes.is_multiple_of(sector) {
            return Err(LogError::BadOptions {
                reason: format!(
                    "segment_bytes is {}, it must be a multiple of {SECTOR} and at least {}",
                    self.segment_bytes,
                    2 * sector
                ),
            });
        }
        Ok(())
    }
}
