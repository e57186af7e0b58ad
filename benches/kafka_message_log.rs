//! The message log in Kafka alone: a task a partition appends groups one after the other, each when the one before is acknowledged by all replicas,
//! once by itself and once with a reader in each partition that waits for them. Everything is read back at the end: each record must be there, once, at
//! the offset that its append was told.
//!
//! `cargo bench -p flare-im --features cluster --bench kafka_message_log [EVENTS_OF_A_GROUP[xPARTITIONS]…]`, such as `39 490x2`, with the brokers in `FLARE_TEST_KAFKA`, which
//! `cargo xtask infra up` prints. With three brokers or more the topic has three replicas, of which two have a record before it is acknowledged.

use std::{
    io::Write,
    num::ParseIntError,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use flare_server_core::{
    clock::IdSource,
    kafka::{KafkaConfig, topics},
    log_file::MAX_RECORD_BYTES,
    message_log::{KafkaMessageLog, MessageLog, topic_spec},
};
use hdrhistogram::Histogram;
use tokio::{sync::watch, task::JoinSet};

const EVENT_BYTES: usize = 300;
const FOR: Duration = Duration::from_secs(4);
const PAGE_BYTES: usize = 1 << 20;
const PARTITIONS: [u32; 3] = [1, 16, 64];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut loads: Vec<Load> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with("--"))
        .map(|it| it.parse().with_context(|| format!("{it} is no load")))
        .collect::<anyhow::Result<_>>()?;
    if loads.is_empty() {
        loads = [1, 10, 100, 1_000].map(Load::of).into();
    }
    let brokers = brokers()?;
    writeln!(
        std::io::stdout(),
        "brokers {}, events of {EVENT_BYTES} bytes, one group in flight a partition, {} s each",
        brokers.join(","),
        FOR.as_secs()
    )?;
    for Load { events, partitions } in loads {
        for partitions in partitions {
            for is_followed in [false, true] {
                run(&brokers, partitions, events, is_followed).await?;
            }
        }
    }
    Ok(())
}

/// How large groups are, and in how many partitions, one count after the other.
struct Load {
    events: usize,
    partitions: Vec<u32>,
}

impl Load {
    fn of(events: usize) -> Self {
        let partitions = PARTITIONS.into();
        Self { events, partitions }
    }
}

impl FromStr for Load {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let Some((events, partitions)) = text.split_once('x') else {
            return Ok(Self::of(text.parse()?));
        };
        Ok(Self {
            events: events.parse()?,
            partitions: vec![partitions.parse()?],
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a benchmark runs against is named by the environment, as for the tests"
)]
fn brokers() -> anyhow::Result<Vec<String>> {
    let brokers = std::env::var("FLARE_TEST_KAFKA").context(
        "FLARE_TEST_KAFKA is not set: `cargo xtask infra up` starts Kafka and prints it",
    )?;
    Ok(brokers.split(',').map(str::to_owned).collect())
}

async fn run(
    brokers: &[String],
    partitions: u32,
    events: usize,
    is_followed: bool,
) -> anyhow::Result<()> {
    let bytes = (events * EVENT_BYTES).max(16);
    ensure!(
        bytes <= MAX_RECORD_BYTES,
        "a group of {events} events is too large"
    );
    let has_three = brokers.len() >= 3;
    let kafka = KafkaConfig {
        bootstrap_servers: brokers.to_vec(),
        prefix: format!("bench{:016x}.", IdSource::from_os().random_u64()),
        allow_single_replica: !has_three,
        ..KafkaConfig::default()
    };
    let replicas = if has_three { topics::LEAST_REPLICAS } else { 1 };
    topics::create(&kafka, replicas, &[topic_spec(partitions)]).await?;
    let writer = open(&kafka, partitions).await?;
    let reader = open(&kafka, partitions).await?;

    warm_up(&writer, bytes).await?;
    let begun = Instant::now();
    let ends: Vec<_> = (0..partitions).map(|_| watch::Sender::new(None)).collect();
    let mut following = JoinSet::new();
    if is_followed {
        for (partition, end) in (0..).zip(&ends) {
            following.spawn(follow(
                Arc::clone(&reader),
                partition,
                begun,
                end.subscribe(),
            ));
        }
    }
    let mut appending = JoinSet::new();
    for partition in 0..partitions {
        let log = Arc::clone(&writer);
        appending.spawn(append(log, partition, bytes, begun));
    }
    let (mut groups, mut appends) = (0, histogram()?);
    while let Some(appended) = appending.join_next().await {
        let (partition, count, took) = appended??;
        ends[partition as usize].send_replace(Some(count));
        groups += count - 1;
        appends.add(took)?;
    }
    let took = begun.elapsed();
    let mut reads = histogram()?;
    while let Some(followed) = following.join_next().await {
        reads.add(followed??)?;
    }
    let checker = open(&kafka, partitions).await?;
    for (partition, end) in (0..).zip(&ends) {
        let end = end.borrow().context("a partition has no end")?;
        check(&*checker, partition, end).await?;
    }
    let per_s = groups as f64 / took.as_secs_f64();
    writeln!(
        std::io::stdout(),
        "{partitions:>3} partitions, groups of {events:>4}: {per_s:>7.0} groups/s, {:>9.0} events/s; append p50 {} p99 {} ms{}; read back",
        per_s * events as f64,
        ms(appends.value_at_quantile(0.5)),
        ms(appends.value_at_quantile(0.99)),
        match is_followed {
            false => String::new(),
            true => format!(
                "; begin of the append until read p50 {} p99 {} ms",
                ms(reads.value_at_quantile(0.5)),
                ms(reads.value_at_quantile(0.99))
            ),
        }
    )?;
    Ok(())
}

async fn open(kafka: &KafkaConfig, partitions: u32) -> anyhow::Result<Arc<KafkaMessageLog>> {
    let on_fatal = Arc::new(|why: &str| drop(writeln!(std::io::stderr(), "{why}")));
    Ok(Arc::new(
        KafkaMessageLog::open(kafka, partitions, on_fatal).await?,
    ))
}

/// In microseconds.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

fn ms(us: u64) -> String {
    format!("{:.2}", us as f64 / 1_000.0)
}

/// The first record of each partition: its broker makes files for it.
async fn warm_up(log: &KafkaMessageLog, bytes: usize) -> anyhow::Result<()> {
    let first = |partition| log.append(partition, Bytes::from(vec![0; bytes]));
    let offsets = futures::future::try_join_all((0..log.partitions()).map(first)).await?;
    ensure!(offsets.iter().all(|it| *it == 0), "a log is not new");
    Ok(())
}

/// How many there are with the first, and how long each took that was appended here.
async fn append(
    log: Arc<KafkaMessageLog>,
    partition: u32,
    bytes: usize,
    begun: Instant,
) -> anyhow::Result<(u32, u64, Histogram<u64>)> {
    let mut took = histogram()?;
    let mut count = 1_u64;
    while begun.elapsed() < FOR {
        let at = begun.elapsed().as_micros() as u64;
        let mut record = vec![b'x'; bytes];
        record[..8].copy_from_slice(&count.to_be_bytes());
        record[8..16].copy_from_slice(&at.to_be_bytes());
        let offset = log.append(partition, Bytes::from(record)).await?;
        ensure!(
            offset == count,
            "group {count} of partition {partition} got offset {offset}"
        );
        took.record(begun.elapsed().as_micros() as u64 - at)?;
        count += 1;
    }
    Ok((partition, count, took))
}

/// How long after the begin of its append each record was read.
async fn follow(
    log: Arc<KafkaMessageLog>,
    partition: u32,
    begun: Instant,
    mut end: watch::Receiver<Option<u64>>,
) -> anyhow::Result<Histogram<u64>> {
    let mut took = histogram()?;
    let mut next = 1;
    loop {
        let known = *end.borrow_and_update();
        if known == Some(next) {
            return Ok(took);
        }
        tokio::select! {
            beyond = log.wait_beyond(partition, next) => drop(beyond?),
            _ = end.changed(), if known.is_none() => continue,
        }
        for (offset, record) in log.read(partition, next, PAGE_BYTES).await?.records {
            let (index, at) = parts(&record)?;
            ensure!(
                offset == next && index == next,
                "{index} at offset {offset}, {next} is due"
            );
            took.record((begun.elapsed().as_micros() as u64).saturating_sub(at))?;
            next += 1;
        }
    }
}

fn parts(record: &Bytes) -> anyhow::Result<(u64, u64)> {
    let index = record.first_chunk::<8>().context("a record is too short")?;
    let at = record[8..]
        .first_chunk::<8>()
        .context("a record is too short")?;
    Ok((u64::from_be_bytes(*index), u64::from_be_bytes(*at)))
}

async fn check(log: &dyn MessageLog, partition: u32, end: u64) -> anyhow::Result<()> {
    let mut next = 0;
    loop {
        let read = log.read(partition, next, PAGE_BYTES).await?;
        if read.records.is_empty() {
            ensure!(
                next == end,
                "partition {partition} has {next} records, {end} were acknowledged"
            );
            return Ok(());
        }
        for (offset, record) in read.records {
            let (index, _) = parts(&record)?;
            ensure!(
                offset == next && index == next,
                "{index} at offset {offset}, {next} is due"
            );
            next += 1;
        }
    }
}
