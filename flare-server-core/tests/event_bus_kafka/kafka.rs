//! The server that the tests run on.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use backon::ExponentialBuilder;
use flare_server_core::clock::{Clock, IdSource, SystemClock};
use flare_server_core::event_bus::{KafkaBusOptions, KafkaEventBus};
use flare_server_core::kafka::KafkaConfig;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

/// What has not come by then is missing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Of every topic that is made here.
pub(crate) const LANES: i32 = 4;
pub(crate) const TOPIC: &str = "flare.test.events";

/// The server, and names that nobody used on it before.
pub(crate) fn fresh() -> KafkaConfig {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let ulid = IdSource::from_os().ulid(SystemClock.now_ms());
    let count = COUNT.fetch_add(1, SeqCst);
    config(format!("{ulid}-{count}.").to_lowercase())
}

pub(crate) fn config(prefix: String) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: servers().split(',').map(str::to_owned).collect(),
        prefix,
        ..KafkaConfig::default()
    }
}

fn servers() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the tests find their server"
    )]
    let servers = std::env::var("FLARE_TEST_KAFKA");
    servers.expect("FLARE_TEST_KAFKA has to name a Kafka, as host:port: `cargo xtask infra up` starts one and says where it is")
}

/// Positions are kept every few milliseconds, and the pauses before a retry are as short.
pub(crate) fn quick() -> KafkaBusOptions {
    KafkaBusOptions {
        batch_records: 256,
        keep_every: Duration::from_millis(5),
        retry: ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(2))
            .without_max_times(),
    }
}

/// A bus on a topic that is there with its dead letters, and nothing in them.
pub(crate) async fn bus_with_topic() -> (KafkaConfig, KafkaEventBus) {
    let config = fresh();
    make(&config, &[TOPIC, "flare.test.events.dlq"]).await;
    let bus = KafkaEventBus::open(&config, quick()).unwrap();
    (config, bus)
}

pub(crate) fn admin(config: &KafkaConfig) -> AdminClient<DefaultClientContext> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.bootstrap_servers.join(","));
    client.create().unwrap()
}

/// Makes topics with as many copies as is usual there, and waits until clients see them.
pub(crate) async fn make(config: &KafkaConfig, topics: &[&str]) {
    let names: Vec<_> = topics
        .iter()
        .map(|topic| format!("{}{topic}", config.prefix))
        .collect();
    let admin = admin(config);
    let new = names
        .iter()
        .map(|name| NewTopic::new(name, LANES, TopicReplication::Fixed(-1)));
    let new: Vec<_> = new.collect();
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    for made in admin.create_topics(&new, &options).await.unwrap() {
        made.unwrap();
    }
    let seen = tokio::task::spawn_blocking(move || {
        let all = || {
            names.iter().all(|name| {
                let found = admin.inner().fetch_metadata(Some(name), DEADLINE).unwrap();
                let topic = &found.topics()[0];
                let led = topic.partitions().iter().filter(|lane| lane.leader() >= 0);
                topic.error().is_none() && led.count() == LANES as usize
            })
        };
        while !all() {
            std::thread::yield_now();
        }
    });
    tokio::time::timeout(DEADLINE, seen)
        .await
        .expect("topics are made")
        .unwrap();
}
