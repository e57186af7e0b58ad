//! Keeps how far the partitions of this process are published: seldom, and all at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_storage_model::Cursor;
use tokio::sync::Notify;

use super::{
    outages::{Of, Outages, cursors_may_pass},
    ports::{CursorsUnavailable, PublishedCursors},
};

/// Published cursors are saved so often at most: what was published since is repeated after a crash.
const SAVE_EVERY: Duration = Duration::from_millis(100);

/// The published cursors of this process's partitions.
pub struct Published {
    cursors: Arc<dyn PublishedCursors>,
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Default)]
struct State {
    /// What is published and not known to be saved.
    unsaved: BTreeMap<u32, Cursor>,
    /// What is saved, of what was loaded or saved here.
    saved: BTreeMap<u32, Cursor>,
}

impl Published {
    /// Kept in `cursors`.
    pub fn new(cursors: Arc<dyn PublishedCursors>) -> Self {
        Self {
            cursors,
            state: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// Saves what has moved, at most every 100 ms. Never ends; what it had not saved when it is dropped, [`keep_now`](Self::keep_now) saves.
    pub async fn keep(&self, outages: &Outages) {
        loop {
            self.moved.notified().await;
            tokio::time::sleep(SAVE_EVERY).await;
            let saved: Result<(), CursorsUnavailable> = outages
                .patiently(Of::Cursors, cursors_may_pass, || self.save(None))
                .await;
            if let Err(error) = saved {
                tracing::error!(%error, "how far the stream is was not kept");
            }
        }
    }

    /// Up to where the partition is saved as published; none if it was never worked on here.
    pub fn saved(&self, partition: u32) -> Option<Cursor> {
        self.lock().saved.get(&partition).copied()
    }

    /// From where to go on.
    pub(super) async fn load(
        &self,
        partition: u32,
        outages: &Outages,
    ) -> Result<Cursor, CursorsUnavailable> {
        let cursor = outages
            .patiently(Of::Cursors, cursors_may_pass, || {
                self.cursors.load(partition)
            })
            .await?;
        self.lock().saved.insert(partition, cursor);
        Ok(cursor)
    }

    /// Everything below the cursor is published, durably.
    pub(super) fn moved(&self, partition: u32, cursor: Cursor) {
        self.lock().unsaved.insert(partition, cursor);
        self.moved.notify_one();
    }

    /// Saves how far the partition is, which is left now.
    pub(super) async fn keep_now(&self, partition: u32) -> Result<(), CursorsUnavailable> {
        self.save(Some(partition)).await
    }

    /// Saves what has moved, of one partition or of all.
    async fn save(&self, only: Option<u32>) -> Result<(), CursorsUnavailable> {
        let moved: Vec<_> = {
            let state = self.lock();
            let unsaved = state.unsaved.iter();
            unsaved
                .filter(|(partition, _)| only.is_none_or(|it| it == **partition))
                .map(|(partition, cursor)| (*partition, *cursor))
                .collect()
        };
        if moved.is_empty() {
            return Ok(());
        }
        self.cursors.save(&moved).await?;
        let mut state = self.lock();
        for (partition, cursor) in moved {
            state.saved.insert(partition, cursor);
            if state.unsaved.get(&partition) == Some(&cursor) {
                state.unsaved.remove(&partition);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
