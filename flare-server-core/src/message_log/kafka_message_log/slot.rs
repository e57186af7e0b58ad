//! A reader's place: one partition in one consumer, and what has come of it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::{KafkaError, KafkaResult},
};
use tokio::sync::{Notify, futures::Notified, watch};

use super::client::Watched;

/// Two calls of one reader are not further apart, unless it does something else in between.
const SOON: Duration = Duration::from_secs(1);

pub(super) struct Slot {
    topic: Arc<str>,
    partition: i32,
    /// Whether the consumer fetches the partition. Placing and giving up take their time, and happen one after the other.
    is_fetched: Mutex<bool>,
    state: Mutex<State>,
    /// Something has come, or the slot was moved.
    changed: Arc<Notify>,
    /// How many calls hold it.
    users: AtomicUsize,
    /// The partition's durable end, as far as it is known here.
    end: watch::Sender<u64>,
    /// After the queue in `state`: the queue is of this consumer.
    consumer: Arc<BaseConsumer<Watched>>,
}

#[derive(Default)]
struct State {
    /// Made when the slot is first placed, and kept: two would share one queue.
    queue: Option<PartitionQueue<Watched>>,
    /// Records come, and the fields below say which.
    is_placed: bool,
    /// The offset of the first of `records`, or of the next that comes.
    first: u64,
    records: VecDeque<Bytes>,
    bytes: usize,
    /// Where the reader goes on. What is below is kept until it has.
    reader: u64,
    used: Option<Instant>,
}

impl State {
    /// The offset of the next record that comes.
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn covers(&self, offset: u64) -> bool {
        self.first <= offset && offset < self.next()
    }

    /// Forgets what is below `offset`.
    fn release(&mut self, offset: u64) {
        while self.first < offset
            && let Some(record) = self.records.pop_front()
        {
            self.first += 1;
            self.bytes -= record.len();
        }
    }

    fn clear(&mut self) {
        self.is_placed = false;
        self.records = VecDeque::new();
        self.bytes = 0;
    }

    /// Takes what has come, until at least `wanted` bytes wait or no more is there.
    fn gather(&mut self, wanted: usize) -> Result<(), String> {
        let Some(queue) = &self.queue else {
            return Ok(());
        };
        while self.bytes < wanted {
            let message = match queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(error.to_string()),
            };
            let next = self.first + self.records.len() as u64;
            let offset = u64::try_from(message.offset()).unwrap_or(u64::MAX);
            if offset < next {
                // Of the place before.
                continue;
            }
            if offset > next {
                return Err(format!("record {offset} came, {next} was due"));
            }
            if offset < self.reader {
                // Whoever waits far ahead does not want it, and so nothing is there.
                self.first = offset + 1;
                continue;
            }
            let record = Bytes::copy_from_slice(message.payload().unwrap_or_default());
            self.bytes += record.len();
            self.records.push_back(record);
        }
        Ok(())
    }

    fn copy(&self, from: u64, max_bytes: usize) -> Vec<(u64, Bytes)> {
        let skipped = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let mut bytes = 0;
        (from..)
            .zip(self.records.iter().skip(skipped))
            .take_while(|(offset, record)| {
                bytes += record.len();
                *offset == from || bytes <= max_bytes
            })
            .map(|(offset, record)| (offset, record.clone()))
            .collect()
    }
}

/// What a slot has for a reader.
pub(super) enum Taken {
    Records(Vec<(u64, Bytes)>),
    /// Nothing yet.
    Pending,
    /// The slot is somebody else's by now.
    Elsewhere,
    /// The consumer cannot go on; the slot is given up.
    Failed(String),
}

impl Slot {
    pub(super) fn new(
        consumer: Arc<BaseConsumer<Watched>>,
        topic: Arc<str>,
        partition: i32,
        end: watch::Sender<u64>,
    ) -> Self {
        Self {
            topic,
            partition,
            is_fetched: Mutex::default(),
            state: Mutex::default(),
            changed: Arc::default(),
            users: AtomicUsize::new(0),
            end,
            consumer,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when something has come since this call, or the slot was moved: to be enabled before the slot is looked at.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether the reader that is at `offset` has this place.
    pub(super) fn is_of(&self, offset: u64) -> bool {
        let state = self.state();
        state.is_placed && state.reader == offset
    }

    /// Whether the record at `offset` is here.
    pub(super) fn covers(&self, offset: u64) -> bool {
        let state = self.state();
        state.is_placed && state.covers(offset)
    }

    /// Since when nobody uses it; None: somebody does, or will soon.
    pub(super) fn left_alone(&self) -> Option<Duration> {
        if self.users.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let state = self.state();
        if !state.is_placed {
            return Some(Duration::MAX);
        }
        let alone = state.used.map_or(Duration::MAX, |used| used.elapsed());
        (alone > SOON).then_some(alone)
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Option<Instant> {
        self.state().used
    }

    /// The records from `from` on, without waiting.
    pub(super) fn take(&self, from: u64, max_bytes: usize) -> Taken {
        let mut state = self.state();
        if !state.is_placed {
            return Taken::Elsewhere;
        }
        if state.reader != from {
            if !state.covers(from) {
                return Taken::Elsewhere;
            }
            // It is another reader's place: what is here anyway, and no more.
            return Taken::Records(state.copy(from, max_bytes));
        }
        state.release(from);
        if let Err(reason) = state.gather(max_bytes) {
            state.clear();
            return Taken::Failed(reason);
        }
        self.seen(state.next());
        if !state.covers(from) {
            return Taken::Pending;
        }
        let records = state.copy(from, max_bytes);
        state.reader = from + records.len() as u64;
        Taken::Records(records)
    }

    /// Looks for the record at `offset` for one who waits there; takes nothing.
    pub(super) fn look(&self, offset: u64) -> Taken {
        let mut state = self.state();
        if !state.is_placed || state.reader != offset {
            return Taken::Elsewhere;
        }
        if !state.covers(offset) {
            state.release(offset);
            if let Err(reason) = state.gather(1) {
                state.clear();
                return Taken::Failed(reason);
            }
            self.seen(state.next());
        }
        if state.covers(offset) {
            Taken::Records(Vec::new())
        } else {
            Taken::Pending
        }
    }

    fn seen(&self, end: u64) {
        self.end.send_if_modified(|known| {
            let is_more = end > *known;
            *known = end.max(*known);
            is_more
        });
    }

    /// Gives the place to a reader at `reader`; records come from `from` on, which is not beyond. Blocks for some milliseconds.
    pub(super) fn place(&self, from: u64, reader: u64) -> KafkaResult<()> {
        let mut is_fetched = self.fetching();
        self.give_up(&mut is_fetched);
        let offset = i64::try_from(from).unwrap_or(i64::MAX);
        let mut start = TopicPartitionList::new();
        start.add_partition_offset(&self.topic, self.partition, Offset::Offset(offset))?;
        if self.state().queue.is_none() {
            // Before the first record comes, which else would go to the consumer's queue.
            let mut queue = self
                .consumer
                .split_partition_queue(&self.topic, self.partition)
                .ok_or(KafkaError::Canceled)?;
            let changed = Arc::clone(&self.changed);
            queue.set_nonempty_callback(move || changed.notify_waiters());
            self.state().queue = Some(queue);
        }
        self.consumer.incremental_assign(&start)?;
        *is_fetched = true;
        let mut state = self.state();
        state.is_placed = true;
        state.first = from;
        state.reader = reader;
        state.used = Some(Instant::now());
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Gives the place up if it was left alone for so long. Blocks for some milliseconds.
    pub(super) fn reap(&self, after: Duration) {
        let mut is_fetched = self.fetching();
        if *is_fetched && self.left_alone().is_some_and(|alone| alone >= after) {
            self.give_up(&mut is_fetched);
        }
    }

    fn fetching(&self) -> MutexGuard<'_, bool> {
        let is_fetched = self.is_fetched.lock();
        is_fetched.unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, is_fetched: &mut bool) {
        self.state().clear();
        self.changed.notify_waiters();
        if !std::mem::take(is_fetched) {
            return;
        }
        let mut here = TopicPartitionList::new();
        here.add_partition(&self.topic, self.partition);
        if let Err(error) = self.consumer.incremental_unassign(&here) {
            tracing::warn!(partition = self.partition, %error, "a partition is fetched on");
        }
    }
}

/// A slot in use.
pub(super) struct Held(Arc<Slot>);

impl Held {
    pub(super) fn new(slot: Arc<Slot>) -> Self {
        slot.users.fetch_add(1, Ordering::SeqCst);
        Self(slot)
    }

    pub(super) fn slot(&self) -> Arc<Slot> {
        Arc::clone(&self.0)
    }
}

impl std::ops::Deref for Held {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().used = Some(Instant::now());
        self.0.users.fetch_sub(1, Ordering::SeqCst);
    }
}
