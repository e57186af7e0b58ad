//! A member of a group, on a thread of its own.
//!
//! The thread serves Kafka's library all the time, whatever the handler does, so that the member stays in its group; it blocks on
//! nothing that a handler can hold up. Each lane has a queue of its own in the library, which fetches ahead until that is full.
//! The thread takes from them when a batch is asked for: so records wait where they are bounded, and nothing has to be paused.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::link::{Ask, Link, NotKept, Taken, Told};
use super::member_context::{Change, MemberContext};
use crate::kafka::goodbye::say_goodbye;

/// A member that is not heard of for so long is out of its group.
const SESSION_MS: u32 = 10_000;
/// The thread looks up so often, though nothing woke it.
const TICK: Duration = Duration::from_millis(100);
/// So long the thread waits for the group's positions, before it tries again.
const POSITIONS_PATIENCE: Duration = Duration::from_secs(2);
/// The library fetches ahead so much a lane, in KiB, and up to one answer more.
const AHEAD_KIB: u32 = 512;
/// What a lane has in one answer at most, in bytes, unless one record is larger.
const ANSWER_BYTES: u32 = 256 << 10;
/// Bytes handed to a handler at once, unless one record is larger.
const BATCH_BYTES: usize = 256 << 10;

/// Joins a group. `config` names the brokers and the group; `runtime` has threads for what blocks.
pub(super) fn join(
    mut config: ClientConfig,
    topic: &str,
    batch_records: usize,
    runtime: &Handle,
) -> KafkaResult<Link> {
    config
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("heartbeat.interval.ms", "500")
        .set("session.timeout.ms", SESSION_MS.to_string())
        .set("max.poll.interval.ms", "30000")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.min.bytes", "1")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.max.messages.kbytes", AHEAD_KIB.to_string())
        .set("fetch.message.max.bytes", ANSWER_BYTES.to_string())
        .set("statistics.interval.ms", "1000");
    let consumer: BaseConsumer<MemberContext> =
        config.create_with_context(MemberContext::new(topic))?;
    consumer.subscribe(&[topic])?;
    let (topic, runtime) = (topic.to_owned(), runtime.clone());
    let run = move |asked, told| {
        Member::new(consumer, topic, batch_records, asked, told, runtime).run();
    };
    Link::to(run).map_err(|error| KafkaError::ClientCreation(error.to_string()))
}

struct Member {
    consumer: Arc<BaseConsumer<MemberContext>>,
    topic: String,
    /// Of the lanes that are read.
    queues: Vec<(i32, PartitionQueue<MemberContext>)>,
    /// With which of them the next batch begins, so that each has its turn.
    turn: usize,
    /// Whether a batch is asked for.
    wanted: bool,
    batch_records: usize,
    /// Lanes that are to go.
    releasing: Vec<i32>,
    asked: Receiver<Ask>,
    told: mpsc::Sender<Told>,
    runtime: Handle,
}

/// There is nobody to serve any more, or the group is of no use.
struct Over;

impl Member {
    fn new(
        mut consumer: BaseConsumer<MemberContext>,
        topic: String,
        batch_records: usize,
        asked: Receiver<Ask>,
        told: mpsc::Sender<Told>,
        runtime: Handle,
    ) -> Self {
        consumer.set_nonempty_callback(wake());
        Self {
            consumer: Arc::new(consumer),
            topic,
            queues: Vec::new(),
            turn: 0,
            wanted: false,
            batch_records: batch_records.max(1),
            releasing: Vec::new(),
            asked,
            told,
            runtime,
        }
    }

    fn run(mut self) {
        while self.step().is_ok() {
            thread::park_timeout(TICK);
        }
        self.leave();
    }

    fn step(&mut self) -> Result<(), Over> {
        loop {
            match self.asked.try_recv() {
                Ok(ask) => self.answer(ask)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Over),
            }
        }
        self.poll()?;
        while let Some(change) = self.consumer.context().change() {
            if !self.follow(change)? {
                break;
            }
            self.consumer.context().answered();
        }
        if let Some(bounds) = self.consumer.context().take_bounds() {
            // The next come in a second.
            drop(self.told.try_send(Told::Bounds(bounds)));
        }
        self.gather()
    }

    /// Serves what the library has to say; the records are in queues of their own.
    fn poll(&mut self) -> Result<(), Over> {
        loop {
            let count = self.consumer.context().count();
            match self.consumer.poll(Duration::ZERO) {
                None if self.consumer.context().count() == count => return Ok(()),
                None => {}
                Some(Err(KafkaError::MessageConsumptionFatal(error))) => {
                    tracing::error!(topic = self.topic, %error, "a member of a group has to begin anew");
                    return Err(Over);
                }
                // The context told of it.
                Some(Err(_)) => {}
                Some(Ok(record)) => {
                    tracing::error!(
                        topic = self.topic,
                        lane = record.partition(),
                        "a record did not come by its lane's queue"
                    );
                    return Err(Over);
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Result<(), Over> {
        match ask {
            Ask::Batch => self.wanted = true,
            Ask::Release => {
                let lanes = std::mem::take(&mut self.releasing);
                self.unassign(&lanes)?;
            }
            Ask::Keep(offsets) => self.keep(offsets),
        }
        Ok(())
    }

    /// Elsewhere, as it blocks.
    fn keep(&self, offsets: Vec<(i32, u64)>) {
        let (consumer, told) = (self.consumer.clone(), self.told.clone());
        let topic = self.topic.clone();
        self.runtime.spawn_blocking(move || {
            let kept = keep(&consumer, &topic, &offsets);
            drop(consumer);
            drop(told.blocking_send(Told::Kept(kept)));
        });
    }

    /// False: not yet.
    fn follow(&mut self, change: Change) -> Result<bool, Over> {
        match change {
            _ if !self.releasing.is_empty() => Ok(false),
            Change::Assign(lanes) => self.assign(&lanes),
            Change::Revoke(lanes) => {
                self.queues.retain(|(lane, _)| !lanes.contains(lane));
                if self.consumer.assignment_lost() {
                    self.unassign(&lanes)?;
                    self.tell(Told::Lost(lanes))?;
                } else if !lanes.is_empty() {
                    self.releasing.clone_from(&lanes);
                    self.tell(Told::Revoking(lanes))?;
                } else {
                    self.unassign(&lanes)?;
                }
                Ok(true)
            }
        }
    }

    fn assign(&mut self, lanes: &[i32]) -> Result<bool, Over> {
        let kept = match kept(&self.consumer, &self.topic, lanes) {
            Ok(kept) => kept,
            Err(error) => {
                self.consumer
                    .context()
                    .say(&error, "the positions of a group cannot be read");
                return Ok(false);
            }
        };
        for lane in lanes {
            // Before the lane is read: all its records come this way.
            let Some(mut queue) = self.consumer.split_partition_queue(&self.topic, *lane) else {
                return Err(Over);
            };
            queue.set_nonempty_callback(wake());
            self.queues.push((*lane, queue));
        }
        let begin =
            |offset: Option<u64>| offset.map_or(Offset::Beginning, |it| Offset::Offset(it as i64));
        let from = kept.iter().map(|(lane, offset)| (*lane, begin(*offset)));
        let assigned =
            list(&self.topic, from).and_then(|list| self.consumer.incremental_assign(&list));
        if let Err(error) = assigned {
            tracing::error!(topic = self.topic, %error, "lanes cannot be taken");
            return Err(Over);
        }
        // A member that has what it is to have is given nothing.
        if !kept.is_empty() {
            self.tell(Told::Assigned(kept))?;
        }
        Ok(true)
    }

    fn unassign(&mut self, lanes: &[i32]) -> Result<(), Over> {
        let list = list(
            &self.topic,
            lanes.iter().map(|lane| (*lane, Offset::Invalid)),
        );
        let unassigned = list.and_then(|list| self.consumer.incremental_unassign(&list));
        unassigned.map_err(|error| {
            tracing::error!(topic = self.topic, %error, "lanes cannot be let go");
            Over
        })
    }

    /// Hands a batch over, if one is asked for and there is something.
    fn gather(&mut self) -> Result<(), Over> {
        if !self.wanted || self.queues.is_empty() {
            return Ok(());
        }
        let count = self.queues.len();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for index in (0..count).map(|index| (self.turn + index) % count) {
            let (lane, queue) = &self.queues[index];
            while batch.len() < self.batch_records && bytes < BATCH_BYTES {
                match queue.poll(Duration::ZERO) {
                    None => break,
                    Some(Ok(record)) => {
                        let key = record.key().map(Bytes::copy_from_slice).unwrap_or_default();
                        let payload = record
                            .payload()
                            .map(Bytes::copy_from_slice)
                            .unwrap_or_default();
                        bytes += key.len() + payload.len();
                        batch.push(Taken {
                            lane: *lane,
                            offset: record.offset().unsigned_abs(),
                            key,
                            payload,
                        });
                    }
                    Some(Err(error)) => {
                        self.consumer.context().say(&error, "a lane cannot be read");
                        break;
                    }
                }
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.turn = (self.turn + 1) % count;
        self.wanted = false;
        self.tell(Told::Batch(batch))
    }

    fn tell(&self, told: Told) -> Result<(), Over> {
        self.told.blocking_send(told).map_err(|_| Over)
    }

    /// Goes out of the group, so that others take over at once.
    fn leave(mut self) {
        self.queues.clear();
        let context = self.consumer.context();
        context.leave();
        let lanes = std::mem::take(&mut self.releasing);
        if !lanes.is_empty() {
            drop(self.unassign(&lanes));
        }
        // The library waits for an answer to each.
        while let Some(change) = self.consumer.context().change() {
            let lanes = match &change {
                Change::Assign(lanes) | Change::Revoke(lanes) => lanes,
            };
            let list = list(
                &self.topic,
                lanes.iter().map(|lane| (*lane, Offset::Invalid)),
            );
            let answered = list.and_then(|list| match change {
                Change::Assign(_) => self.consumer.incremental_assign(&list),
                Change::Revoke(_) => self.consumer.incremental_unassign(&list),
            });
            if let Err(error) = answered {
                tracing::debug!(topic = self.topic, %error, "a change of the assignment could not be answered");
            }
            self.consumer.context().answered();
        }
        // Its end may take as long as Kafka is away, which is for this thread and no other.
        while Arc::strong_count(&self.consumer) > 1 {
            thread::park_timeout(TICK);
        }
        say_goodbye(&self.consumer);
    }
}

/// Wakes this thread.
fn wake() -> impl Fn() + Send + Sync + 'static {
    let thread = thread::current();
    move || thread.unpark()
}

/// Has Kafka keep a group's positions. A commit that waits for its outcome waits for ever where there is no coordinator, and one that does not tells nobody:
/// so what is kept is read again, behind the commit on the same connection.
fn keep(
    consumer: &BaseConsumer<MemberContext>,
    topic: &str,
    offsets: &[(i32, u64)],
) -> Result<(), NotKept> {
    let to_keep = offsets
        .iter()
        .map(|(lane, next)| (*lane, Offset::Offset(*next as i64)));
    let lanes: Vec<_> = offsets.iter().map(|(lane, _)| *lane).collect();
    let found = list(topic, to_keep)
        .and_then(|list| consumer.commit(&list, CommitMode::Async))
        .and_then(|()| kept(consumer, topic, &lanes))
        .map_err(|error| NotKept::Unknown(error.to_string()))?;
    let is_kept = |(lane, next): &(i32, u64)| found.contains(&(*lane, Some(*next)));
    match offsets.iter().find(|it| !is_kept(it)) {
        None => Ok(()),
        Some((lane, next)) => Err(NotKept::Refused(format!(
            "lane {lane} is not kept at {next}"
        ))),
    }
}

/// The positions that the group has kept.
fn kept(
    consumer: &BaseConsumer<MemberContext>,
    topic: &str,
    lanes: &[i32],
) -> KafkaResult<Vec<(i32, Option<u64>)>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let list = list(topic, lanes.iter().map(|lane| (*lane, Offset::Invalid)))?;
    let list = consumer.committed_offsets(list, POSITIONS_PATIENCE)?;
    let kept = list.elements().into_iter().map(|lane| {
        lane.error()?;
        let offset = match lane.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        };
        Ok((lane.partition(), offset))
    });
    kept.collect()
}

fn list(
    topic: &str,
    lanes: impl IntoIterator<Item = (i32, Offset)>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (lane, offset) in lanes {
        list.add_partition_offset(topic, lane, offset)?;
    }
    Ok(list)
}
