use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::cursor_file::CursorFile;
use crate::log_file::LogError;

/// No position was ever kept.
const NONE: u64 = u64::MAX;

/// A named cursor in a topic.
pub(super) struct Group {
    pub(super) name: String,
    /// Held by the subscription whose turn it is.
    pub(super) turn: tokio::sync::Mutex<()>,
    file: CursorFile,
    /// Held by who writes the file.
    keeping: Mutex<()>,
    /// The position after the last record handled; not below `flushed`.
    reached: watch::Sender<u64>,
    /// What lies below it no handler holds in memory any more; not below `kept`.
    flushed: AtomicU64,
    /// The position in the file: where the group goes on after a crash.
    kept: AtomicU64,
}

impl Group {
    /// A group that has not read anything yet.
    pub(super) fn new(name: &str, file: CursorFile) -> Self {
        Self {
            name: name.to_owned(),
            turn: tokio::sync::Mutex::default(),
            file,
            keeping: Mutex::default(),
            reached: watch::Sender::new(NONE),
            flushed: AtomicU64::new(NONE),
            kept: AtomicU64::new(NONE),
        }
    }

    /// A group whose cursor is in its file.
    pub(super) fn load(name: &str, file: CursorFile) -> Result<Self, LogError> {
        let cursor = file.load()?;
        let group = Self::new(name, file);
        group.begin(cursor);
        group.kept.store(cursor, SeqCst);
        Ok(group)
    }

    /// Where to go on; none if it never read.
    pub(super) fn reached(&self) -> Option<u64> {
        Some(*self.reached.borrow()).filter(|position| *position != NONE)
    }

    /// Where it would go on after a crash; none if it never read.
    pub(super) fn kept(&self) -> Option<u64> {
        Some(self.kept.load(SeqCst)).filter(|position| *position != NONE)
    }

    /// Everything below `position` is over and done with.
    pub(super) fn begin(&self, position: u64) {
        self.flushed.store(position, SeqCst);
        self.advance(position);
    }

    /// Another handler goes on: where the one before flushed, as it may have held in memory what it handled since. At `floor` if none ever
    /// read.
    pub(super) fn resume(&self, floor: u64) {
        self.begin(self.flushed().unwrap_or(floor));
    }

    /// Takes note that everything below `position` is handled.
    pub(super) fn advance(&self, position: u64) {
        self.reached.send_replace(position);
    }

    /// Waits until everything below `position` is handled. Safe to cancel.
    pub(super) async fn reaches(&self, position: u64) {
        let mut reached = self.reached.subscribe();
        let is_there = |reached: &u64| *reached != NONE && *reached >= position;
        // The sender lives as long as `self`.
        drop(reached.wait_for(is_there).await);
    }

    /// Takes note that no handler holds anything below `position` in memory.
    pub(super) fn flushed_up_to(&self, position: u64) {
        self.flushed.store(position, SeqCst);
    }

    /// Waits until the position that it reached is not the one that survives a crash. Safe to cancel.
    pub(super) async fn is_to_be_kept(&self) {
        let mut reached = self.reached.subscribe();
        let is_unkept = |reached: &u64| *reached != self.kept.load(SeqCst);
        // The sender lives as long as `self`.
        drop(reached.wait_for(is_unkept).await);
    }

    /// Whether its handler may hold something in memory that was handled.
    pub(super) fn is_flushed(&self) -> bool {
        self.reached() == self.flushed()
    }

    /// Has the position up to which all is flushed survive a crash.
    pub(super) async fn keep(self: &Arc<Self>) -> Result<(), LogError> {
        if self.flushed() == self.kept() {
            return Ok(());
        }
        let group = self.clone();
        let store = move || {
            let _one = group.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(position) = group.flushed() else {
                return Ok(());
            };
            group.file.store(position)?;
            group.kept.store(position, SeqCst);
            Ok(())
        };
        tokio::task::spawn_blocking(store)
            .await
            .unwrap_or(Err(LogError::Closed))
    }

    fn flushed(&self) -> Option<u64> {
        Some(self.flushed.load(SeqCst)).filter(|position| *position != NONE)
    }

    /// Forgets the group's position.
    pub(super) fn remove(&self) -> Result<(), LogError> {
        self.file.remove()
    }

    /// Goes back to the end of a topic that lost its latest records, at once and durably: the
    /// positions beyond it will be given to other records.
    pub(super) fn take_back(&self, end: u64) -> Result<(), LogError> {
        tracing::warn!(
            file = %self.file.path().display(),
            cursor = self.reached(),
            end,
            "a lazily synced topic lost its latest records; the group goes back to its end",
        );
        self.file.store(end)?;
        self.begin(end);
        self.kept.store(end, SeqCst);
        Ok(())
    }
}
