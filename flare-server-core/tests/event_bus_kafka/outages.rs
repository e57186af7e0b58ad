//! A real broker that is killed, hangs, or whose answers are lost: one of the test's own, of the jars in `FLARE_TEST_KAFKA_HOME`.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flare_server_core::event_bus::{EventBus, KafkaEventBus, PublishError};
use flare_server_core::kafka::{KafkaConfig, MESSAGE_TIMEOUT_MS};
use tokio::sync::Mutex;

use crate::broker::Broker;
use crate::kafka::{DEADLINE, TOPIC, make, quick};
use crate::proxy::{Mode, Proxy};
use crate::recorder::{Recorder, becomes, number, until};

/// One broker at a time: each is a Java machine.
static TURN: Mutex<()> = Mutex::const_new(());

const KEYS: u64 = 40;
/// A publish may be late by so much: a client is looked after now and then.
const LATE: Duration = Duration::from_secs(1);

fn at(address: String) -> KafkaConfig {
    KafkaConfig {
        bootstrap_servers: vec![address],
        ..KafkaConfig::default()
    }
}

async fn bus_at(broker: &Broker) -> KafkaEventBus {
    let config = at(broker.address());
    make(&config, &[TOPIC, "flare.test.events.dlq"]).await;
    KafkaEventBus::open(&config, quick()).unwrap()
}

fn batch(numbers: Range<u64>) -> Vec<(Bytes, Bytes)> {
    let record = |number: u64| {
        let key = Bytes::from((number % KEYS).to_le_bytes().to_vec());
        (key, Bytes::from(number.to_le_bytes().to_vec()))
    };
    numbers.map(record).collect()
}

/// As a publisher does who wants the order: again, from where it is unknown.
async fn publish_at_last(bus: &KafkaEventBus, numbers: Range<u64>) {
    until("it is published", async || {
        let published = bus.publish_batch(TOPIC, batch(numbers.clone())).await;
        published.is_ok()
    })
    .await;
}

async fn unknown_in_time(bus: &KafkaEventBus, numbers: Range<u64>) {
    let begun = Instant::now();
    let published = bus.publish_batch(TOPIC, batch(numbers)).await;
    assert!(
        matches!(published, Err(PublishError::Unknown { .. })),
        "{published:?}"
    );
    let limit = Duration::from_millis(MESSAGE_TIMEOUT_MS.into()) + LATE;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

/// Also where the broker has just come back, and does not know yet what it leads.
async fn caught_up(bus: &KafkaEventBus) {
    let caught_up = tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group")).await;
    caught_up.expect("the group catches up").unwrap();
}

/// Every number up to `end` came, and first in the order of its key.
fn assert_in_order(seen: &[u64], end: u64) {
    let mut due: Vec<u64> = (0..KEYS).collect();
    for number in seen {
        let due = &mut due[(number % KEYS) as usize];
        assert!(number <= due, "{number} came before {due}");
        if number == due {
            *due += KEYS;
        }
    }
    assert!(due.iter().all(|due| *due >= end), "{due:?} of {end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_goes_on_in_order_after_the_broker_was_killed_under_load() {
    let _turn = TURN.lock().await;
    let mut broker = Broker::start(None);
    let bus = bus_at(&broker).await;
    let recorder = Recorder::new();
    let subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish_at_last(&bus, 0..KEYS).await;
    recorder.reaches(KEYS as usize).await;
    let killed = tokio::task::spawn_blocking(move || {
        broker.kill();
        broker.start_again();
        broker
    });
    let (mut next, mut longest) = (KEYS, Duration::ZERO);
    while !killed.is_finished() {
        let begun = Instant::now();
        publish_at_last(&bus, next..next + 20).await;
        longest = longest.max(begun.elapsed());
        next += 20;
    }
    assert!(longest > Duration::from_millis(500), "nobody noticed");
    let broker = killed.await.unwrap();
    publish_at_last(&bus, next..next + KEYS).await;
    next += KEYS;
    caught_up(&bus).await;
    assert_in_order(&recorder.numbers(), next);

    // The broker that came back keeps the position: a bus without members goes by nothing else.
    let elsewhere = KafkaEventBus::open(&at(broker.address()), quick()).unwrap();
    caught_up(&elsewhere).await;
    subscription.shutdown().await;
    let after = Recorder::new();
    let _subscription = bus.subscribe(TOPIC, "group", after.clone()).await.unwrap();
    publish_at_last(&bus, next..next + 1).await;
    after.reaches(1).await;
    assert_eq!(after.numbers(), [next]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_makes_nothing_certain_and_nothing_wedged() {
    let _turn = TURN.lock().await;
    let broker = Broker::start(None);
    let bus = bus_at(&broker).await;
    let recorder = Recorder::new();
    let _subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish_at_last(&bus, 0..KEYS).await;
    recorder.reaches(KEYS as usize).await;

    broker.pause();
    unknown_in_time(&bus, KEYS..2 * KEYS).await;
    broker.resume();

    publish_at_last(&bus, KEYS..2 * KEYS).await;
    caught_up(&bus).await;
    assert_in_order(&recorder.numbers(), 2 * KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_whose_answer_is_lost_is_unknown_and_may_come_twice_in_order() {
    let _turn = TURN.lock().await;
    let proxy = Proxy::start().await;
    let broker = Broker::start(Some(&proxy));
    let direct = bus_at(&broker).await;
    let bus = KafkaEventBus::open(&at(proxy.address()), quick()).unwrap();
    let recorder = Recorder::new();
    let _subscription = direct
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    publish_at_last(&bus, 0..KEYS).await;
    recorder.reaches(KEYS as usize).await;

    proxy.set(Mode::Deaf);
    unknown_in_time(&bus, KEYS..2 * KEYS).await;
    // What the client had sent before it waited for an answer.
    recorder.reaches(KEYS as usize + 1).await;

    proxy.set(Mode::Cut);
    proxy.set(Mode::Open);
    publish_at_last(&bus, KEYS..3 * KEYS).await;
    becomes(&recorder.batches, |batches| {
        batches.concat().iter().any(|it| number(it) + 1 == 3 * KEYS)
    })
    .await;
    caught_up(&direct).await;
    let came = recorder.seen().len();
    assert!(came > 3 * KEYS as usize, "nothing was published again");
    assert_in_order(&recorder.numbers(), 3 * KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_loses_its_lanes_to_another_and_comes_back() {
    let _turn = TURN.lock().await;
    let proxy = Proxy::start().await;
    let broker = Broker::start(Some(&proxy));
    let bus = bus_at(&broker).await;
    let behind = KafkaEventBus::open(&at(proxy.address()), quick()).unwrap();
    let [first, cut_off] = [Recorder::new(), Recorder::new()];
    let _first = bus.subscribe(TOPIC, "group", first.clone()).await.unwrap();
    let _cut_off = behind
        .subscribe(TOPIC, "group", cut_off.clone())
        .await
        .unwrap();
    let mut next = 0;
    let both_have_some = async {
        while cut_off.seen().is_empty() {
            publish_at_last(&bus, next..next + KEYS).await;
            next += KEYS;
        }
    };
    tokio::time::timeout(DEADLINE, both_have_some)
        .await
        .expect("lanes are shared");
    caught_up(&bus).await;

    proxy.set(Mode::Cut);
    publish_at_last(&bus, next..next + KEYS).await;
    next += KEYS;
    caught_up(&bus).await;
    let until_cut = cut_off.seen().len();

    proxy.set(Mode::Open);
    let comes_back = async {
        while cut_off.seen().len() == until_cut {
            publish_at_last(&bus, next..next + KEYS).await;
            next += KEYS;
        }
    };
    tokio::time::timeout(DEADLINE, comes_back)
        .await
        .expect("it comes back");
    assert!(*cut_off.told.borrow() > 1, "others had its lanes");
    caught_up(&bus).await;
    let all: std::collections::BTreeSet<u64> = [first.numbers(), cut_off.numbers()]
        .concat()
        .into_iter()
        .collect();
    assert_eq!(all, (0..next).collect());
}
