//! The connections of this gateway.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use flare_core::{
    codec::{Codec, ServerFrame, encode_server},
    outbound::Outbound,
};
use flare_proto::client::SyncHint;
use tokio::{sync::Notify, time::Instant};

use super::connection::{Close, Connection};

const SHARDS: usize = 64;

/// The table of registered connections, by id.
#[derive(Debug)]
pub struct Connections {
    shards: Vec<Mutex<HashMap<u64, Arc<Connection>>>>,
    last_id: AtomicU64,
    /// Made at start; presence and push-server name connections by it and their id.
    pub incarnation: String,
    start: Instant,
    emptied: Notify,
}

impl Connections {
    /// No connections yet.
    pub fn new(incarnation: String) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            last_id: AtomicU64::new(0),
            incarnation,
            start: Instant::now(),
            emptied: Notify::new(),
        }
    }

    /// Milliseconds of a clock that only goes forward.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A moment of that clock.
    pub fn instant(&self, ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(ms)
    }

    /// The id of the next connection: rising.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds one.
    pub fn insert(&self, connection: &Arc<Connection>) {
        if let Some(mut shard) = self.shard(connection.id) {
            shard.insert(connection.id, Arc::clone(connection));
        }
    }

    /// Removes one: nothing more is put into it.
    pub fn remove(&self, connection: &Connection) {
        connection.end();
        if let Some(mut shard) = self.shard(connection.id) {
            shard.remove(&connection.id);
        }
        self.emptied.notify_waiters();
    }

    /// The connection of this id, if it is open.
    pub fn get(&self, id: u64) -> Option<Arc<Connection>> {
        self.shard(id)?.get(&id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let locked = |shard: &Mutex<HashMap<u64, Arc<Connection>>>| {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
                .cloned()
                .collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(locked).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| {
            shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
        })
    }

    /// Waits until there is none.
    pub async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Closes some. Answers how many of them were open.
    pub fn close(&self, ids: &[u64], close: &Close) -> usize {
        ids.iter()
            .filter_map(|id| self.get(*id))
            .filter(|it| it.close(close.clone()))
            .count()
    }

    /// Asks some of them to sync: they may have missed something, and nobody knows what.
    pub fn hint(&self, some: &[Arc<Connection>]) {
        let hint = ServerFrame::SyncHint(SyncHint::default());
        let hints = Codec::ALL.map(|codec| (codec, encode_server(codec, &hint)));
        let now_ms = self.now_ms();
        for connection in some {
            match hints.iter().find(|(codec, _)| *codec == connection.codec) {
                Some((_, Ok(hint))) => {
                    connection.push(Outbound::Inbox(hint.clone()), now_ms);
                }
                Some((_, Err(error))) => tracing::error!(%error, "a hint was not encoded"),
                None => {}
            }
        }
    }

    fn shard(&self, id: u64) -> Option<MutexGuard<'_, HashMap<u64, Arc<Connection>>>> {
        let shard = self.shards.get(usize::try_from(id % SHARDS as u64).ok()?)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
