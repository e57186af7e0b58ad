//! What the store's callers and its writing thread share.

use std::{
    collections::HashMap,
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        RwLockWriteGuard,
    },
};

use tokio::sync::{Notify, watch};

use super::{disk::Disk, tail::Tail};
use crate::{apply::LogState, message_store::StoreError};

/// What the writing thread is to do next.
#[derive(Default)]
pub(super) struct Signal {
    /// The tail is not empty.
    pub(super) work: bool,
    /// Do not gather: the tail is half full, or somebody waits.
    pub(super) urgent: bool,
    /// Sync once the tail is empty.
    pub(super) flush: bool,
    /// End.
    pub(super) stop: Option<Stop>,
}

/// How the writing thread ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// After everything is on disk.
    Flushed,
    /// At once: the log still has what the tail had.
    Now,
}

/// What partitions have reached.
#[derive(Default)]
pub(super) struct Progress {
    /// Who waits for a partition's cursor.
    watched: HashMap<u32, watch::Sender<LogState>>,
    /// What survives a power loss.
    pub(super) synced: HashMap<u32, LogState>,
}

pub(super) struct State {
    pub(super) disk: Disk,
    tail: RwLock<Tail>,
    signal: Mutex<Signal>,
    wake: Condvar,
    progress: Mutex<Progress>,
    /// Told whenever the tail got shorter, and when the store stops.
    pub(super) room: Notify,
    /// All batches below this number are synced.
    pub(super) flushed: watch::Sender<u64>,
    /// Why the store takes no more.
    stopped: OnceLock<StoreError>,
}

impl State {
    pub(super) fn new(disk: Disk, tail: Tail, synced: HashMap<u32, LogState>) -> Self {
        Self {
            disk,
            tail: RwLock::new(tail),
            signal: Mutex::default(),
            wake: Condvar::new(),
            progress: Mutex::new(Progress {
                watched: HashMap::new(),
                synced,
            }),
            room: Notify::new(),
            flushed: watch::Sender::new(0),
            stopped: OnceLock::new(),
        }
    }

    pub(super) fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the writing thread waits.
    pub(super) fn wake(&self) -> &Condvar {
        &self.wake
    }

    /// Changes the signal and wakes the writing thread.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Signal)) {
        change(&mut self.signal());
        self.wake.notify_one();
    }

    /// Tells those who wait that the cursor has moved.
    pub(super) fn moved(&self, partition: u32, cursor: LogState) {
        if let Some(watched) = self.progress().watched.get(&partition) {
            watched.send_replace(cursor);
        }
    }

    /// A view of the partition's cursor; it ends when the store stops.
    pub(super) fn watch(&self, partition: u32) -> Result<watch::Receiver<LogState>, StoreError> {
        let mut progress = self.progress();
        self.open()?;
        let watched = progress
            .watched
            .entry(partition)
            .or_insert_with(|| watch::Sender::new(self.tail().cursor(partition)));
        Ok(watched.subscribe())
    }

    /// An error once the store has stopped.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        self.stopped.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Takes no more, and wakes all who wait.
    pub(super) fn stop(&self, why: StoreError) {
        // The first reason stands.
        let _ = self.stopped.set(why);
        self.progress().watched.clear();
        self.room.notify_waiters();
        self.flushed.send_modify(|_| {});
    }
}
