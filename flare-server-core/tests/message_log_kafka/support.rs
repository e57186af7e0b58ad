//! Logs in a Kafka that is there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flare_server_core::{
    clock::IdSource,
    kafka::{
        KafkaConfig,
        topics::{self, Made},
    },
    message_log::{KafkaMessageLog, MessageLog, topic_spec},
};
use rdkafka::{ClientConfig, admin::AdminClient, client::DefaultClientContext};

/// What does not come within this counts as missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An installation of its own in the Kafka of the environment.
pub(crate) fn installation() -> KafkaConfig {
    #[expect(
        clippy::disallowed_methods,
        reason = "what a test needs is named by the environment"
    )]
    let servers = std::env::var("FLARE_TEST_KAFKA");
    at(&servers.expect("FLARE_TEST_KAFKA has to name a Kafka, as host:port: `cargo xtask infra up` starts one and says where it is"))
}

/// An installation of its own in the Kafka at these servers.
pub(crate) fn at(servers: &str) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: servers.split(',').map(str::to_owned).collect(),
        prefix: format!("t{:016x}.", IdSource::from_os().random_u64()),
        allow_single_replica: true,
        ..KafkaConfig::default()
    }
}

/// Makes the log's topic, with as many copies as there are servers.
pub(crate) async fn make(kafka: &KafkaConfig, partitions: u32) {
    let replicas = kafka.bootstrap_servers.len() as u16;
    let made = topics::create(kafka, replicas, &[topic_spec(partitions)])
        .await
        .unwrap();
    assert_eq!(made[0].1, Made::Created);
}

/// Opens a log whose topic is there.
pub(crate) async fn open(kafka: &KafkaConfig, partitions: u32) -> Arc<KafkaMessageLog> {
    let on_fatal = Arc::new(|why: &str| panic!("{why}"));
    let log = KafkaMessageLog::open(kafka, partitions, on_fatal).await;
    Arc::new(log.unwrap())
}

/// A log that is new.
pub(crate) async fn fresh(kafka: &KafkaConfig, partitions: u32) -> Arc<KafkaMessageLog> {
    make(kafka, partitions).await;
    open(kafka, partitions).await
}

pub(crate) fn admin(kafka: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap_servers.join(","))
        .create()
        .unwrap()
}

pub(crate) fn text(index: u64) -> Bytes {
    Bytes::from(format!("record {index}"))
}

/// All records from `from` to the end.
pub(crate) async fn contents(log: &dyn MessageLog, partition: u32, from: u64) -> Vec<Bytes> {
    let mut contents = Vec::new();
    loop {
        let next = from + contents.len() as u64;
        let read = log.read(partition, next, 1 << 20).await.unwrap();
        if read.records.is_empty() {
            assert_eq!(read.durable_end, next);
            return contents;
        }
        for (offset, record) in read.records {
            assert_eq!(offset, from + contents.len() as u64);
            contents.push(record);
        }
    }
}

/// Appends until it succeeds, as somebody may whom a second record does not hurt.
pub(crate) async fn append_at_last(log: &dyn MessageLog, partition: u32, record: Bytes) -> u64 {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        match log.append(partition, record.clone()).await {
            Ok(offset) => return offset,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}
