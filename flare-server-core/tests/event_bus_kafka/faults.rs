//! Brokers that come and go often, or have never been there. They are those of the client library's own mock, which really listens, hangs up and loses what is on its
//! way; a real one suffers in `outages`.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flare_server_core::event_bus::{
    BusRecord, EventBus, KafkaEventBus, PublishError, SubscribeError,
};
use flare_server_core::kafka::KafkaConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::kafka::{DEADLINE, LANES, TOPIC, quick};
use crate::recorder::{Recorder, becomes, number, publish, until};

pub(crate) type Mock = MockCluster<'static, DefaultProducerContext>;

pub(crate) fn mock() -> (Mock, KafkaEventBus) {
    let mock = MockCluster::new(1).unwrap();
    for topic in [TOPIC, "flare.test.events.dlq"] {
        mock.create_topic(topic, LANES, 1).unwrap();
    }
    let config = KafkaConfig {
        bootstrap_servers: mock
            .bootstrap_servers()
            .split(',')
            .map(str::to_owned)
            .collect(),
        ..KafkaConfig::default()
    };
    let bus = KafkaEventBus::open(&config, quick()).unwrap();
    (mock, bus)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_to_brokers_that_are_down_fails_in_time_and_all_goes_on_when_they_are_back() {
    let (mock, bus) = mock();
    let recorder = Recorder::new();
    let _subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish(&bus, 0..10, 5).await;
    recorder.reaches(10).await;
    mock.broker_down(1).unwrap();
    let begun = Instant::now();
    let small = (0..20u64).map(|number| number.to_le_bytes().to_vec());
    let large = (0..80u8).map(|byte| vec![byte; 900_000]);
    let publishing = small.chain(large).map(|payload| {
        let key = Bytes::copy_from_slice(&payload[..1]);
        bus.publish(TOPIC, key, Bytes::from(payload))
    });
    let outcomes = futures::future::join_all(publishing).await;
    let refused = outcomes
        .iter()
        .filter(|it| matches!(it, Err(PublishError::NoRoom { .. })))
        .count();
    let unknown = outcomes
        .iter()
        .filter(|it| matches!(it, Err(PublishError::Unknown { .. })))
        .count();
    assert_eq!(refused + unknown, 100, "{outcomes:?}");
    assert!(
        (1..80).contains(&refused),
        "{refused} were refused for want of room"
    );
    let taken = begun.elapsed();
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(13)).contains(&taken),
        "it took {taken:?}"
    );
    mock.broker_up(1).unwrap();
    until("a publish succeeds", async || {
        let payload = Bytes::from(1_000u64.to_le_bytes().to_vec());
        bus.publish(TOPIC, Bytes::new(), payload).await.is_ok()
    })
    .await;
    let is_last = |record: &BusRecord| record.payload[..] == 1_000u64.to_le_bytes();
    becomes(&recorder.batches, |batches| {
        batches.concat().iter().any(is_last)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_whose_brokers_are_gone_ends_though_a_position_is_on_its_way() {
    let (mock, bus) = mock();
    let recorder = Recorder::new();
    recorder.allow(0);
    let subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish(&bus, 0..1, 1).await;
    recorder.reaches(1).await;
    mock.broker_down(1).unwrap();
    recorder.release();
    let begun = Instant::now();
    let ended = tokio::time::timeout(DEADLINE, async {
        subscription.shutdown().await;
        bus.close().await;
    });
    ended.await.expect("it ends");
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(15), "it took {taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_without_brokers_refuses_in_time() {
    let config = KafkaConfig {
        bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
        ..KafkaConfig::default()
    };
    let bus = KafkaEventBus::open(&config, quick()).unwrap();
    let begun = Instant::now();
    let publishing = bus.publish(TOPIC, Bytes::new(), Bytes::new());
    let subscribing = bus.subscribe(TOPIC, "group", Recorder::new());
    let (published, subscribed) = tokio::join!(publishing, subscribing);
    assert!(
        matches!(published, Err(PublishError::Failed { .. })),
        "{published:?}"
    );
    assert!(matches!(subscribed, Err(SubscribeError::Failed { .. })));
    assert!(begun.elapsed() < Duration::from_secs(12));
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_of_a_batch_overtakes_one_that_was_lost_while_brokers_come_and_go() {
    let (mock, bus) = mock();
    let recorder = Recorder::new();
    let _subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish(&bus, 0..1, 1).await;
    recorder.reaches(1).await;
    let is_calm = Cell::new(false);
    let flapping = async {
        let mut every = tokio::time::interval(Duration::from_millis(400));
        every.tick().await;
        for _ in 0..8 {
            mock.broker_down(1).unwrap();
            every.tick().await;
            mock.broker_up(1).unwrap();
            every.tick().await;
        }
        is_calm.set(true);
    };
    let publishing = async {
        let mut next = 1;
        while !is_calm.get() {
            let record = |number: u64| {
                let key = Bytes::from((number % 10).to_le_bytes().to_vec());
                (key, Bytes::from(number.to_le_bytes().to_vec()))
            };
            let batch: Vec<_> = (next..next + 500).map(record).collect();
            // As a publisher does who wants the order: again, from where it is unknown.
            let published = async {
                while bus.publish_batch(TOPIC, batch.clone()).await.is_err() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, published).await.unwrap();
            next += 500;
        }
        next
    };
    let ((), next) = tokio::join!(flapping, publishing);
    becomes(&recorder.batches, |batches| {
        batches.concat().iter().any(|it| number(it) + 1 == next)
    })
    .await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    // Of each key, the first time that a record comes.
    let mut due: Vec<u64> = (0..10).map(|key| if key == 0 { 10 } else { key }).collect();
    for number in recorder.numbers().into_iter().skip(1) {
        let due = &mut due[(number % 10) as usize];
        assert!(number <= *due, "{number} came before {due}");
        if number == *due {
            *due += 10;
        }
    }
    assert!(due.iter().all(|due| *due >= next), "{due:?} of {next}");
}
