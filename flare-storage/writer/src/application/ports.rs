//! What the use cases ask of the outside.

use async_trait::async_trait;
use flare_storage_model::Cursor;

/// How far each partition of the log is in `flare.im.message.persisted`.
///
/// A cursor that is saved here says: every event below it is published, durably. Whoever saves it has seen that, of events that he published
/// himself or that were below the cursor from which he went on; so it is true whoever says it, and whenever it arrives. What an adapter owes:
///
/// - **Nothing is ahead.** A partition's cursor is one that was saved, never one beyond; the default if none was.
/// - **Kept.** What `save` has returned of survives a loss of power.
/// - **Only forward.** Of two cursors of a partition the one with the greater `next_offset` stands, in whichever order they came: a process
///   that was stopped for long says late what was true all the time.
/// - **Together or not.** The cursors of one call may be kept in part, if it fails; each is kept whole or not at all.
#[async_trait]
pub trait PublishedCursors: Send + Sync + 'static {
    /// Up to where the partition is published.
    ///
    /// # Errors
    /// Nobody knows now. A repetition may succeed.
    async fn load(&self, partition: u32) -> Result<Cursor, CursorsUnavailable>;

    /// Keeps cursors, of at most one for each partition.
    ///
    /// # Errors
    /// Some may be kept, or none. A repetition may succeed.
    async fn save(&self, cursors: &[(u32, Cursor)]) -> Result<(), CursorsUnavailable>;
}

/// The published cursors are out of reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("published cursors are unavailable: {0}")]
pub struct CursorsUnavailable(pub String);
