//! Reads: who reads where, and what the bounds are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use rdkafka::{
    error::{KafkaError, KafkaResult},
    producer::{FutureProducer, Producer},
};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio_util::sync::CancellationToken;

use super::{
    READ_TIMEOUT, TOPIC,
    client::Watched,
    lane::{Lane, Purpose},
    slot::{Held, Slot, Taken},
};
use crate::{
    kafka::KafkaConfig,
    message_log::{LogRead, ReadError},
};

/// The lanes, in the order in which a reader's place is looked for.
const LANES: [Purpose; 3] = [Purpose::Follow, Purpose::Scan, Purpose::Scan];
/// One read returns no more, unless it is one record.
const MAX_READ_BYTES: usize = 4 << 20;
/// Who follows the end gets less than this at once, unless he is behind.
const MUCH_BYTES: usize = 256 << 10;
/// One question for the bounds; then it is asked again.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Places that nobody uses are looked for so often.
const KEEP_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Reading {
    kafka: KafkaConfig,
    topic: String,
    /// Answers for the bounds.
    producer: Arc<FutureProducer<Watched>>,
    lanes: [OnceCell<Lane>; LANES.len()],
    partitions: Vec<Partition>,
    closed: CancellationToken,
}

struct Partition {
    /// The durable end, as far as it is known here: it only grows.
    end: watch::Sender<u64>,
    /// One reader at a time gets a place.
    placing: Mutex<()>,
}

/// Why a reader got no place: it may ask again.
struct NoPlace(String);

impl Reading {
    pub(super) fn new(
        kafka: &KafkaConfig,
        partitions: u32,
        producer: Arc<FutureProducer<Watched>>,
        closed: CancellationToken,
    ) -> Arc<Self> {
        let partition = |_| Partition {
            end: watch::Sender::new(0),
            placing: Mutex::default(),
        };
        Arc::new(Self {
            topic: kafka.named(TOPIC),
            kafka: kafka.clone(),
            producer,
            lanes: Default::default(),
            partitions: (0..partitions).map(partition).collect(),
            closed,
        })
    }

    fn partition(&self, partition: u32) -> Result<&Partition, ReadError> {
        if self.closed.is_cancelled() {
            return Err(ReadError::Closed(partition));
        }
        self.partitions
            .get(partition as usize)
            .ok_or(ReadError::NoSuchPartition(partition))
    }

    /// The durable end, as far as it is known here.
    pub(super) fn known_end(&self, partition: u32) -> Option<u64> {
        Some(*self.partitions.get(partition as usize)?.end.borrow())
    }

    /// The record at `offset` is durable.
    pub(super) fn acknowledged(&self, partition: u32, offset: u64) {
        if let Some(partition) = self.partitions.get(partition as usize) {
            partition.raise(offset + 1);
        }
    }

    pub(super) async fn read(
        self: &Arc<Self>,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<LogRead, ReadError> {
        let shared = self.partition(partition)?;
        let deadline = Instant::now() + READ_TIMEOUT;
        let mut is_end_fresh = false;
        if from >= shared.end() {
            let (_, end) = self.check(partition, from, deadline).await?;
            if from == end {
                return Ok(LogRead {
                    records: Vec::new(),
                    durable_end: end,
                });
            }
            is_end_fresh = true;
        }
        let mut pauses = pauses();
        loop {
            let held = match self.find(partition, from) {
                Some(held) => held,
                None => match self.place(partition, Purpose::Scan, from, from).await {
                    Ok(held) => held,
                    Err(NoPlace(reason)) => {
                        pause(&mut pauses, deadline, partition, &reason).await?;
                        continue;
                    }
                },
            };
            let mut changed = std::pin::pin!(held.changed());
            changed.as_mut().enable();
            match held.take(from, max_bytes.clamp(1, MAX_READ_BYTES)) {
                Taken::Records(records) => {
                    let next = from + records.len() as u64;
                    let bytes: usize = records.iter().map(|(_, record)| record.len()).sum();
                    let knows_end = next < shared.end()
                        || is_end_fresh
                        || (bytes < MUCH_BYTES && self.follows(partition, &held));
                    if !knows_end {
                        self.bounds(partition, deadline).await?;
                    }
                    return Ok(LogRead {
                        records,
                        durable_end: shared.end(),
                    });
                }
                Taken::Elsewhere => {}
                Taken::Failed(reason) => {
                    self.check(partition, from, deadline).await?;
                    pause(&mut pauses, deadline, partition, &reason).await?;
                }
                Taken::Pending => tokio::select! {
                    () = self.closed.cancelled() => return Err(ReadError::Closed(partition)),
                    came = tokio::time::timeout_at(deadline.into(), changed) => came.map_err(|_| {
                        let reason = format!("record {from} has not come in {} ms", READ_TIMEOUT.as_millis());
                        ReadError::Unavailable { partition, reason }
                    })?,
                },
            }
        }
    }

    pub(super) async fn wait_beyond(
        self: &Arc<Self>,
        partition: u32,
        offset: u64,
    ) -> Result<u64, ReadError> {
        let shared = self.partition(partition)?;
        let mut end = shared.end.subscribe();
        let mut pauses = pauses();
        loop {
            let known = *end.borrow_and_update();
            if known > offset {
                return Ok(known);
            }
            let reason = match self.follow(partition, offset).await {
                Ok(None) => continue,
                Ok(Some(held)) => {
                    let mut changed = std::pin::pin!(held.changed());
                    changed.as_mut().enable();
                    match held.look(offset) {
                        Taken::Records(_) | Taken::Elsewhere => continue,
                        Taken::Pending => {
                            tokio::select! {
                                () = self.closed.cancelled() => return Err(ReadError::Closed(partition)),
                                () = changed => {}
                                _ = end.changed() => {}
                            }
                            continue;
                        }
                        Taken::Failed(reason) => reason,
                    }
                }
                Err(NoPlace(reason)) => reason,
            };
            tracing::warn!(
                partition,
                offset,
                reason,
                "the log's end cannot be followed; trying again"
            );
            tokio::select! {
                () = self.closed.cancelled() => return Err(ReadError::Closed(partition)),
                () = tokio::time::sleep(pauses.next().unwrap_or(KEEP_EVERY)) => {}
            }
        }
    }

    /// The floor and the durable end, as the partition's leader knows them.
    pub(super) async fn bounds(
        &self,
        partition: u32,
        deadline: Instant,
    ) -> Result<(u64, u64), ReadError> {
        let mut pauses = pauses();
        loop {
            let shared = self.partition(partition)?;
            let known = shared.end();
            let reason = match self.ask(partition).await {
                // A new leader may have to learn first what is durable.
                Ok((_, end)) if end < known => {
                    format!("the leader's end is {end}, {known} is durable")
                }
                Ok((floor, end)) => {
                    shared.raise(end);
                    return Ok((floor, shared.end()));
                }
                Err(error) => error.to_string(),
            };
            pause(&mut pauses, deadline, partition, &reason).await?;
        }
    }

    async fn ask(&self, partition: u32) -> KafkaResult<(u64, u64)> {
        let producer = Arc::clone(&self.producer);
        let topic = self.topic.clone();
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let (floor, end) = tokio::task::spawn_blocking(move || {
            producer
                .client()
                .fetch_watermarks(&topic, number, ASK_TIMEOUT)
        })
        .await
        .unwrap_or(Err(KafkaError::Canceled))?;
        match (u64::try_from(floor), u64::try_from(end)) {
            (Ok(floor), Ok(end)) => Ok((floor, end)),
            _ => Err(KafkaError::OffsetFetch(
                rdkafka::error::RDKafkaErrorCode::NoOffset,
            )),
        }
    }

    /// The bounds, with `from` between them.
    async fn check(
        &self,
        partition: u32,
        from: u64,
        deadline: Instant,
    ) -> Result<(u64, u64), ReadError> {
        let (floor, durable_end) = self.bounds(partition, deadline).await?;
        if from < floor {
            return Err(ReadError::Trimmed {
                partition,
                offset: from,
                floor,
            });
        }
        if from > durable_end {
            return Err(ReadError::BeyondEnd {
                partition,
                offset: from,
                durable_end,
            });
        }
        Ok((floor, durable_end))
    }

    fn existing(&self, lane: usize, partition: u32) -> Option<Arc<Slot>> {
        self.lanes.get(lane)?.get()?.existing(partition)
    }

    fn follows(&self, partition: u32, held: &Held) -> bool {
        self.existing(0, partition)
            .is_some_and(|slot| Arc::ptr_eq(&slot, &held.slot()))
    }

    /// The place of the reader at `from`, or else one that has the record.
    fn find(&self, partition: u32, from: u64) -> Option<Held> {
        let slots = || (0..LANES.len()).filter_map(|lane| self.existing(lane, partition));
        slots()
            .find(|slot| slot.is_of(from))
            .or_else(|| slots().find(|slot| slot.covers(from)))
            .map(Held::new)
    }

    /// The place of one who waits at `offset`, among those that follow the end; None: there is nothing to wait for.
    async fn follow(
        self: &Arc<Self>,
        partition: u32,
        offset: u64,
    ) -> Result<Option<Held>, NoPlace> {
        if let Some(slot) = self.existing(0, partition).filter(|it| it.is_of(offset)) {
            return Ok(Some(Held::new(slot)));
        }
        let deadline = Instant::now() + READ_TIMEOUT;
        let (_, end) = self
            .bounds(partition, deadline)
            .await
            .map_err(|error| NoPlace(error.to_string()))?;
        if end > offset {
            return Ok(None);
        }
        let placed = self.place(partition, Purpose::Follow, end, offset);
        placed.await.map(Some)
    }

    /// A place for a reader at `reader`, into which records come from `from` on.
    async fn place(
        self: &Arc<Self>,
        partition: u32,
        purpose: Purpose,
        from: u64,
        reader: u64,
    ) -> Result<Held, NoPlace> {
        let Some(shared) = self.partitions.get(partition as usize) else {
            return Err(NoPlace("there is no such partition".to_owned()));
        };
        let _placing = shared.placing.lock().await;
        // Somebody who reads the same may have got it meanwhile.
        if purpose == Purpose::Scan
            && let Some(held) = self.find(partition, reader)
        {
            return Ok(held);
        }
        let lanes =
            || (0..LANES.len()).filter(|it| LANES[*it] == purpose || purpose == Purpose::Follow);
        let mut chosen = None;
        for lane in lanes() {
            let slot = self.lane(lane).await?.slot(partition, &shared.end);
            if slot.left_alone().is_some() || slot.is_of(reader) {
                chosen = Some((lane, slot));
                break;
            }
        }
        let longest_unused = || {
            lanes()
                .filter_map(|lane| Some((lane, self.existing(lane, partition)?)))
                .min_by_key(|(_, slot)| slot.used())
        };
        let Some((lane, slot)) = chosen.or_else(longest_unused) else {
            return Err(NoPlace("there is no lane".to_owned()));
        };
        let held = Held::new(Arc::clone(&slot));
        if slot.is_of(reader) {
            return Ok(held);
        }
        metrics::counter!("flare_message_log_places_total", "lane" => LANES[lane].label())
            .increment(1);
        tokio::task::spawn_blocking(move || slot.place(from, reader))
            .await
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|error| NoPlace(error.to_string()))?;
        Ok(held)
    }

    async fn lane(self: &Arc<Self>, lane: usize) -> Result<&Lane, NoPlace> {
        let (cell, purpose) = (&self.lanes[lane], LANES[lane]);
        cell.get_or_try_init(|| async {
            let kafka = self.kafka.clone();
            tokio::task::spawn_blocking(move || Lane::open(&kafka, purpose))
                .await
                .unwrap_or(Err(KafkaError::Canceled))
        })
        .await
        .map_err(|error| NoPlace(error.to_string()))
    }
}

impl Partition {
    fn end(&self) -> u64 {
        *self.end.borrow()
    }

    fn raise(&self, end: u64) {
        self.end.send_if_modified(|known| {
            let is_more = end > *known;
            *known = end.max(*known);
            is_more
        });
    }
}

/// Looks after the lanes until the log is closed, and ends them where that may block.
pub(super) async fn keep(reading: Arc<Reading>) {
    let mut ticks = tokio::time::interval(KEEP_EVERY);
    while reading
        .closed
        .run_until_cancelled(ticks.tick())
        .await
        .is_some()
    {
        let reading = Arc::clone(&reading);
        let kept = tokio::task::spawn_blocking(move || {
            for lane in &reading.lanes {
                if let Some(lane) = lane.get() {
                    lane.keep();
                }
            }
        });
        if kept.await.is_err() {
            tracing::error!("looking after the log's readers failed");
        }
    }
    drop(tokio::task::spawn_blocking(move || drop(reading)));
}

fn pauses() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(10))
        .with_max_delay(Duration::from_millis(500))
        .without_max_times()
        .build()
}

/// A pause before the next attempt, unless the time is up.
async fn pause(
    pauses: &mut (impl Iterator<Item = Duration> + Send),
    deadline: Instant,
    partition: u32,
    reason: &str,
) -> Result<(), ReadError> {
    let pause = pauses.next().unwrap_or(KEEP_EVERY);
    if Instant::now() + pause > deadline {
        let reason = reason.to_owned();
        return Err(ReadError::Unavailable { partition, reason });
    }
    tokio::time::sleep(pause).await;
    Ok(())
}
