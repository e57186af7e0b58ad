//! The thread that moves the tail to fjall. It is nobody's latency: what it stalls on stays readable in the tail.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use metrics::{counter, gauge, histogram};

use super::{
    disk::Pending,
    state::{State, Stop},
    tail::TailBatch,
};
use crate::{
    apply::LogState, conversation_key::ConversationKey, head::Head, message_store::StoreError,
};

/// How much goes into one batch of fjall: larger ones save little, and hold its journal longer.
const CHUNK_EVENTS: usize = 4_096;
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Heads that wait for the next sync, at most.
const UNWRITTEN_HEADS: usize = 65_536;

pub(super) struct Filler {
    state: Arc<State>,
    /// How long a first batch waits for others.
    gather: Duration,
    sync_bytes: u64,
    sync_interval: Duration,
    /// The cursors of what is written.
    written: HashMap<u32, LogState>,
    /// All batches below this number are written.
    written_no: u64,
    unsynced_bytes: u64,
    /// When the oldest unsynced write was made.
    unsynced_since: Option<Instant>,
}

impl Filler {
    pub(super) fn new(
        state: Arc<State>,
        gather: Duration,
        sync_bytes: u64,
        sync_interval: Duration,
    ) -> Self {
        Self {
            state,
            gather,
            sync_bytes,
            sync_interval,
            written: HashMap::new(),
            written_no: 0,
            unsynced_bytes: 0,
            unsynced_since: None,
        }
    }

    /// Runs until the store is closed, dropped, or fails. A failure is for good: nobody writes any more.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let _told = Told(Arc::clone(&self.state));
        let ended = self.fill().map_err(|error| match error {
            StoreError::Unavailable(why) => StoreError::Failed(why),
            error => error,
        });
        if let Err(error) = &ended {
            tracing::error!(%error, "the message store takes no more: its files cannot be written");
            self.state.stop(error.clone());
        }
        ended
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        loop {
            let (flush, stop) = self.wait();
            loop {
                // A store that is dropped leaves the rest to the log.
                if stop == Some(Stop::Now) || self.state.signal().stop == Some(Stop::Now) {
                    return Ok(());
                }
                if !self.write_chunk()? {
                    break;
                }
                if self.unsynced_bytes >= self.sync_bytes {
                    self.sync()?;
                }
            }
            let due = self
                .unsynced_since
                .is_some_and(|it| it.elapsed() >= self.sync_interval);
            if due || flush || stop.is_some() {
                self.sync()?;
            } else if self.state.tail().unwritten_head_count() > UNWRITTEN_HEADS {
                self.write_heads()?;
            }
            if stop.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for something to do, then lets it gather. Tells whether somebody waits for a sync, and whether to end.
    fn wait(&self) -> (bool, Option<Stop>) {
        let state = &self.state;
        let until_sync = |since: Option<Instant>| {
            since.map(|since| self.sync_interval.saturating_sub(since.elapsed()))
        };
        let mut signal = state.signal();
        while !signal.work && !signal.urgent && signal.stop.is_none() {
            signal = match until_sync(self.unsynced_since) {
                Some(Duration::ZERO) => break,
                Some(rest) => {
                    state
                        .wake()
                        .wait_timeout(signal, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => state
                    .wake()
                    .wait(signal)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        if signal.work {
            let gather =
                until_sync(self.unsynced_since).map_or(self.gather, |it| it.min(self.gather));
            signal = state
                .wake()
                .wait_timeout_while(signal, gather, |it| !it.urgent && it.stop.is_none())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        signal.work = false;
        signal.urgent = false;
        (mem::take(&mut signal.flush), signal.stop)
    }

    /// Moves the oldest batches over. False: the tail is empty.
    fn write_chunk(&mut self) -> Result<bool, StoreError> {
        let chunk = self.state.tail().oldest(CHUNK_EVENTS, CHUNK_BYTES);
        if chunk.is_empty() {
            return Ok(false);
        }
        let started = Instant::now();
        let mut heads: HashMap<&ConversationKey, (u64, Option<&Head>)> = HashMap::new();
        let mut cursors = HashMap::new();
        for batch in chunk.iter().map(|it| &it.batch) {
            for event in &batch.events {
                heads.entry(event.key()).or_insert((event.seq(), None));
            }
            for (key, head) in &batch.heads {
                heads.entry(key).and_modify(|it| it.1 = Some(head));
            }
            cursors.insert(batch.partition, batch.to);
        }
        let count = chunk.iter().map(|it| it.batch.events.len()).sum();
        self.state.disk.write(
            count,
            chunk.iter().flat_map(|it| pending(it)),
            heads
                .iter()
                .filter_map(|(key, (first, head))| Some((*key, *first, (*head)?))),
            cursors
                .iter()
                .map(|(partition, cursor)| (*partition, *cursor)),
        )?;
        let heads = heads
            .into_iter()
            .filter_map(|(key, (_, head))| Some((key.clone(), head?.clone())))
            .collect();
        let (events, bytes) = {
            let mut tail = self.state.tail_mut();
            tail.forget(chunk.len(), heads);
            tail.size()
        };
        self.state.room.notify_waiters();
        self.written.extend(cursors);
        self.written_no += chunk.len() as u64;
        self.unsynced_bytes += chunk.iter().map(|it| it.bytes as u64).sum::<u64>();
        self.unsynced_since.get_or_insert(started);
        histogram!("flare_message_store_write_seconds").record(started.elapsed());
        counter!("flare_message_store_events_written_total")
            .increment(chunk.iter().map(|it| it.batch.events.len() as u64).sum());
        gauge!("flare_message_store_tail_events").set(events as f64);
        gauge!("flare_message_store_tail_bytes").set(bytes as f64);
        Ok(true)
    }

    /// Makes what is written survive a power loss, heads included.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.write_heads()?;
        if self.unsynced_since.take().is_some() {
            let started = Instant::now();
            self.state.disk.sync()?;
            histogram!("flare_message_store_sync_seconds").record(started.elapsed());
        }
        self.unsynced_bytes = 0;
        self.state.progress().synced.extend(self.written.drain());
        self.state.flushed.send_replace(self.written_no);
        Ok(())
    }

    fn write_heads(&mut self) -> Result<(), StoreError> {
        let heads = self.state.tail().unwritten_heads();
        if heads.is_empty() {
            return Ok(());
        }
        for some in heads.chunks(CHUNK_EVENTS) {
            self.state
                .disk
                .write_heads(some.iter().map(|(key, head)| (key, head)))?;
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        self.state.tail_mut().forget_heads(&heads);
        Ok(())
    }
}

/// Stops the store where the thread ends without having said why.
struct Told(Arc<State>);

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = "the writing thread has panicked".to_owned();
            self.0.stop(StoreError::Failed(why));
        }
    }
}

fn pending(batch: &TailBatch) -> impl Iterator<Item = Pending<'_>> {
    let events = batch.batch.events.iter();
    events
        .zip(&batch.client_ids)
        .map(|(event, client_id)| Pending {
            event,
            client_id: *client_id,
        })
}
