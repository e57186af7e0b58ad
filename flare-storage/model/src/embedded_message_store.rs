//! The store of record in one process: fjall, behind a tail in memory.
//!
//! A committed batch goes into the tail and is readable from there at once. One thread moves the tail to fjall behind the callers' back, in
//! large batches, so that fjall's stalls reach nobody; it syncs every 64 MiB or 10 s. A crash loses the tail and nothing else: the cursor
//! in fjall moves in the same batch as the rows it covers, and the log still has what is above.

mod admit;
mod disk;
mod filler;
mod inventory;
mod journal;
mod reads;
mod rows;
mod state;
mod tail;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

#[doc(hidden)]
pub use rows::judge_rows;

use disk::{Disk, DiskOptions};
use filler::Filler;
use state::{State, Stop};
use tail::Tail;
use tokio::{sync::Mutex as AsyncMutex, task};

use crate::message_store::StoreError;

/// The settings of [`EmbeddedMessageStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedStoreOptions {
    /// Events that wait in memory for fjall, at most; beyond, `commit` waits.
    pub max_tail_events: usize,
    /// What they take in memory, about, at most; beyond, `commit` waits.
    pub max_tail_bytes: usize,
    /// How long the first event waits in memory for others, so that they go to fjall in one batch.
    pub gather: Duration,
    /// Written bytes after which the store syncs.
    pub sync_bytes: u64,
    /// Time after which the store syncs what it has written.
    pub sync_interval: Duration,
    /// Memory for blocks that were read.
    pub cache_bytes: u64,
    /// Memory for rows that fjall has not sorted into files; of the largest table.
    pub memtable_bytes: u64,
}

impl Default for EmbeddedStoreOptions {
    fn default() -> Self {
        Self {
            max_tail_events: 100_000,
            max_tail_bytes: 96 * 1024 * 1024,
            gather: Duration::from_millis(10),
            sync_bytes: 64 * 1024 * 1024,
            sync_interval: Duration::from_secs(10),
            cache_bytes: 32 * 1024 * 1024,
            memtable_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The [`MessageStore`](crate::message_store::MessageStore) of a single process. One per folder: a second one is refused.
///
/// Dropping it without `close` leaves what the tail held to the log.
pub struct EmbeddedMessageStore {
    state: Arc<State>,
    options: EmbeddedStoreOptions,
    /// One commit at a time.
    turn: Arc<AsyncMutex<()>>,
    filler: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

/// What waits in memory for fjall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailSize {
    /// How many events.
    pub events: usize,
    /// What they take in memory, about.
    pub bytes: usize,
}

impl EmbeddedMessageStore {
    /// Opens or makes the store in `folder`. Blocks while fjall recovers.
    ///
    /// Refused with `UnknownFormat` where another version wrote the folder, with `Unavailable` where another process has it open.
    pub fn open(folder: &Path, options: EmbeddedStoreOptions) -> Result<Self, StoreError> {
        let disk = Disk::open(
            folder,
            DiskOptions {
                cache_bytes: options.cache_bytes,
                memtable_bytes: options.memtable_bytes,
            },
        )?;
        let cursors: HashMap<_, _> = disk.cursors()?.into_iter().collect();
        let tail = Tail::new(cursors.clone(), options.max_tail_events);
        let state = Arc::new(State::new(disk, tail, cursors));
        let filler = Filler::new(
            Arc::clone(&state),
            options.gather,
            options.sync_bytes,
            options.sync_interval,
        );
        let filler = thread::Builder::new()
            .name("message-store".to_owned())
            .spawn(move || filler.run())
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            state,
            options,
            turn: Arc::default(),
            filler: Mutex::new(Some(filler)),
        })
    }

    /// What waits in memory: how far fjall is behind.
    pub fn tail_size(&self) -> TailSize {
        let (events, bytes) = self.state.tail().size();
        TailSize { events, bytes }
    }

    /// Waits until all that was committed before this call survives a power loss.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let state = &self.state;
        let target = state.tail().next_no();
        let mut flushed = state.flushed.subscribe();
        state.tell(|signal| {
            signal.urgent = true;
            signal.flush = true;
        });
        let done = |synced: &u64| *synced >= target || state.open().is_err();
        // The sender lives as long as the state.
        let synced = flushed.wait_for(done).await.map(|it| *it).unwrap_or(0);
        if synced >= target {
            Ok(())
        } else {
            state.open()
        }
    }

    /// Ends the writing thread once everything is on disk.
    async fn finish(&self) -> Result<(), StoreError> {
        let turn = self.turn.lock().await;
        self.state.stop(StoreError::Closed);
        drop(turn);
        self.state.tell(|signal| signal.stop = Some(Stop::Flushed));
        let filler = self
            .filler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match filler {
            Some(filler) => task::spawn_blocking(move || join(filler))
                .await
                .unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()))),
            None => Ok(()),
        }
    }

    /// Waits until the tail has room. A batch larger than the bound goes alone.
    async fn room(&self) -> Result<(), StoreError> {
        loop {
            let room = self.state.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            self.state.open()?;
            let TailSize { events, bytes } = self.tail_size();
            if events < self.options.max_tail_events && bytes < self.options.max_tail_bytes {
                return Ok(());
            }
            room.await;
        }
    }
}

impl Drop for EmbeddedMessageStore {
    fn drop(&mut self) {
        self.state.stop(StoreError::Closed);
        self.state.tell(|signal| signal.stop = Some(Stop::Now));
        let filler = self
            .filler
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(filler) = filler {
            // Whoever opens the folder next must find it free. The thread has told of an error itself.
            let _ = join(filler);
        }
    }
}

fn join(filler: JoinHandle<Result<(), StoreError>>) -> Result<(), StoreError> {
    filler.join().unwrap_or_else(|_| {
        Err(StoreError::Failed(
            "the writing thread has panicked".to_owned(),
        ))
    })
}
