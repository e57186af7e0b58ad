//! Members of one group: they come, share, and go.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::{
    BatchHandler, BusRecord, EventBus, Handled, KafkaEventBus, Subscription,
};

use crate::kafka::{DEADLINE, LANES, TOPIC, bus_with_topic};
use crate::recorder::{Recorder, becomes, number, publish, until};

/// Keys enough for records in every lane.
const KEYS: u64 = 40;

fn lanes(records: &[BusRecord]) -> BTreeSet<u64> {
    records.iter().map(|record| record.position >> 48).collect()
}

/// What members were given, by key, in the order in which they were.
#[derive(Default)]
struct Ledger(Mutex<HashMap<Bytes, Vec<u64>>>);

struct Writer(Arc<Ledger>);

#[async_trait]
impl BatchHandler for Writer {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let mut keys = self.0.0.lock().unwrap();
        for record in batch {
            keys.entry(record.key.clone())
                .or_default()
                .push(number(record));
        }
        Handled::Ok
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_every_key_lasts_while_members_come_and_go_under_load() {
    let (_, bus) = bus_with_topic().await;
    let bus = Arc::new(bus);
    let ledger = Arc::new(Ledger::default());
    let until = Instant::now() + Duration::from_secs(6);
    let publishing = {
        let bus = bus.clone();
        tokio::spawn(async move {
            let mut next = 0;
            while Instant::now() < until {
                let record = |number: u64| {
                    let key = Bytes::from((number % KEYS).to_le_bytes().to_vec());
                    (key, Bytes::from(number.to_le_bytes().to_vec()))
                };
                bus.publish_batch(TOPIC, (next..next + 20).map(record).collect())
                    .await
                    .unwrap();
                next += 20;
            }
            next
        })
    };
    let join = || bus.subscribe(TOPIC, "group", Arc::new(Writer(ledger.clone())));
    let mut members = vec![join().await.unwrap()];
    while !publishing.is_finished() {
        members.push(join().await.unwrap());
        // Time for the newcomer to get lanes of those that are there.
        drop(tokio::time::timeout(Duration::from_millis(700), std::future::pending::<()>()).await);
        members.remove(0).shutdown().await;
    }
    let published = publishing.await.unwrap();
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    let keys = ledger.0.lock().unwrap();
    for key in 0..KEYS {
        let expected: Vec<_> = (key..published).step_by(KEYS as usize).collect();
        let given = &keys[&key.to_le_bytes()[..]];
        assert!(
            *given == expected,
            "key {key}: {} records published, {} given, in order: {}",
            expected.len(),
            given.len(),
            given.is_sorted()
        );
    }
}

/// A member whose second batch is in hand, with records of every lane.
async fn with_every_lane_in_hand(bus: &KafkaEventBus) -> (Arc<Recorder>, Subscription) {
    let recorder = Recorder::new();
    recorder.allow(0);
    publish(bus, 0..KEYS, KEYS).await;
    let subscription = bus
        .subscribe(TOPIC, "group", recorder.clone())
        .await
        .unwrap();
    becomes(&recorder.batches, |batches| batches.len() == 1).await;
    publish(bus, KEYS..2 * KEYS, KEYS).await;
    // While the first is in hand, all is fetched: time enough.
    drop(tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await);
    recorder.allow(1);
    becomes(&recorder.batches, |batches| batches.len() == 2).await;
    assert_eq!(lanes(&recorder.batches.borrow()[1]).len(), LANES as usize);
    (recorder, subscription)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_go_with_the_batch_in_hand_handled_and_it_does_not_come_again() {
    let (_, bus) = bus_with_topic().await;
    let (first, leaving) = with_every_lane_in_hand(&bus).await;
    let second = Recorder::new();
    let _staying = bus.subscribe(TOPIC, "group", second.clone()).await.unwrap();
    let early = tokio::time::timeout(
        Duration::from_secs(2),
        becomes(&second.batches, |it| !it.is_empty()),
    )
    .await;
    assert!(early.is_err(), "lanes went with their batch in hand");
    first.release();
    publish(&bus, 2 * KEYS..3 * KEYS, KEYS).await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    leaving.shutdown().await;
    publish(&bus, 3 * KEYS..4 * KEYS, KEYS).await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    let mut all = [first.numbers(), second.numbers()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..4 * KEYS).collect::<Vec<_>>());
    assert!(!second.seen().is_empty() && *second.told.borrow() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_do_not_wait_for_ever_for_a_handler_and_what_it_says_later_moves_nothing() {
    let (_, bus) = bus_with_topic().await;
    let (stuck, leaving) = with_every_lane_in_hand(&bus).await;
    let second = Recorder::answering(|_| Handled::Retry);
    second.allow(0);
    let also_leaving = bus.subscribe(TOPIC, "group", second.clone()).await.unwrap();
    becomes(&second.batches, |batches| !batches.is_empty()).await;
    // Both have these records. The member that lost their lanes says that they are handled, the other that they are not.
    stuck.release();
    leaving.shutdown().await;
    second.release();
    also_leaving.shutdown().await;
    let third = Recorder::new();
    let _third = bus.subscribe(TOPIC, "group", third.clone()).await.unwrap();
    let lost: BTreeSet<_> = second.batches.borrow()[0].iter().map(number).collect();
    becomes(&third.batches, |batches| {
        lost.is_subset(&batches.concat().iter().map(number).collect())
    })
    .await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    let kept_lanes = LANES as usize - lanes(&third.seen()).len();
    assert!(
        kept_lanes >= 2,
        "what was handled of the other lanes is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_come_again_for_longer_than_a_session_cost_no_membership() {
    let (_, bus) = bus_with_topic().await;
    publish(&bus, 0..3, 1).await;
    let fine_from = Instant::now() + Duration::from_secs(12);
    let handler = Recorder::answering(move |_| {
        if Instant::now() < fine_from {
            Handled::Retry
        } else {
            Handled::Ok
        }
    });
    let subscription = bus
        .subscribe(TOPIC, "group", handler.clone())
        .await
        .unwrap();
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    let batches = handler.batches.borrow().clone();
    assert!(batches.len() > 100 && batches.iter().all(|batch| *batch == batches[0]));
    assert_eq!(*handler.told.borrow(), 1, "its lanes stayed its own");
    subscription.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_takes_over_soon_after_an_orderly_end() {
    let (_, bus) = bus_with_topic().await;
    let [first, second] = [Recorder::new(), Recorder::new()];
    let leaving = bus.subscribe(TOPIC, "group", first.clone()).await.unwrap();
    publish(&bus, 0..KEYS, KEYS).await;
    first.reaches(KEYS as usize).await;
    let _staying = bus.subscribe(TOPIC, "group", second.clone()).await.unwrap();
    publish(&bus, KEYS..2 * KEYS, KEYS).await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    leaving.shutdown().await;
    let before = (first.seen().len() + second.seen().len()) as u64;
    assert_eq!(before, 2 * KEYS);
    let begun = Instant::now();
    publish(&bus, before..before + KEYS, KEYS).await;
    tokio::time::timeout(DEADLINE, bus.caught_up(TOPIC, "group"))
        .await
        .unwrap()
        .unwrap();
    let taken = begun.elapsed();
    assert_eq!(first.seen().len() + second.seen().len(), 3 * KEYS as usize);
    assert!(taken < Duration::from_secs(2), "it took {taken:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_member_that_was_stopped_while_it_joined() {
    let (_, bus) = bus_with_topic().await;
    let [first, last] = [Recorder::new(), Recorder::new()];
    let _first = bus.subscribe(TOPIC, "group", first.clone()).await.unwrap();
    publish(&bus, 0..KEYS, KEYS).await;
    first.reaches(KEYS as usize).await;
    let begun = Instant::now();
    for _ in 0..3 {
        let stopped = bus.subscribe(TOPIC, "group", Recorder::new()).await;
        stopped.unwrap().shutdown().await;
    }
    let _last = bus.subscribe(TOPIC, "group", last.clone()).await.unwrap();
    until("the last comer has a lane", async || {
        publish(&bus, 0..KEYS, KEYS).await;
        !last.seen().is_empty()
    })
    .await;
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(5), "it took {taken:?}");
}
