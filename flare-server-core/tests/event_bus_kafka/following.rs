//! Who follows a topic beside all groups.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use flare_server_core::event_bus::{BusRecord, EventBus, Follower, Following, Frontier};
use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::faults::mock;
use crate::kafka::{DEADLINE, LANES, TOPIC, admin, bus_with_topic};
use crate::recorder::{becomes, number, publish, until};

const KEYS: u64 = 40;

/// Notes what it is given since it began last, and stands still while it is held.
#[derive(Default)]
struct Notes {
    begun: watch::Sender<Vec<Frontier>>,
    seen: watch::Sender<Vec<BusRecord>>,
    held: Mutex<bool>,
    released: Condvar,
}

impl Notes {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }

    fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.seen.borrow().iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Follower for Notes {
    fn begins(&self, at: &Frontier) {
        self.seen.send_modify(Vec::clear);
        self.begun.send_modify(|begun| begun.push(at.clone()));
    }

    fn take(&self, records: &[BusRecord]) {
        self.seen
            .send_modify(|seen| seen.extend_from_slice(records));
        let held = self.held.lock().unwrap();
        drop(self.released.wait_while(held, |held| *held).unwrap());
    }
}

async fn caught_up(following: &Following) {
    let caught_up = tokio::time::timeout(DEADLINE, following.caught_up()).await;
    caught_up.expect("in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_follow_all_lanes_while_a_group_shares_them_and_begin_as_far_behind_as_they_ask() {
    let (_, bus) = bus_with_topic().await;
    publish(&bus, 0..KEYS, KEYS).await;
    let [all, late] = [Arc::<Notes>::default(), Arc::default()];
    let following = bus.follow(TOPIC, u64::MAX, all.clone()).await.unwrap();
    publish(&bus, KEYS..2 * KEYS, KEYS).await;
    caught_up(&following).await;
    assert_eq!(all.numbers(), (0..2 * KEYS).collect::<Vec<_>>());
    let behind = u64::try_from(LANES).unwrap() * 3;
    let late_one = bus.follow(TOPIC, behind, late.clone()).await.unwrap();
    caught_up(&late_one).await;
    // The latest of each lane.
    let lanes: BTreeSet<_> = late
        .seen
        .borrow()
        .iter()
        .map(|it| it.position >> 48)
        .collect();
    assert_eq!((late.numbers().len(), lanes.len()), (12, LANES as usize));
    let begun = late.begun.borrow()[0].clone();
    for record in all.seen.borrow().iter() {
        let is_before = begun.is_beyond(record.position);
        assert_ne!(is_before, late.numbers().contains(&number(record)));
    }
    late_one.shutdown().await;
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_who_is_overtaken_by_retention_is_told_that_he_begins_anew() {
    let (config, bus) = bus_with_topic().await;
    let notes = Arc::<Notes>::default();
    let following = bus.follow(TOPIC, 0, notes.clone()).await.unwrap();
    caught_up(&following).await;
    notes.hold(true);
    // More than is fetched ahead.
    for index in 0..300_u64 {
        let key = Bytes::from((index % KEYS).to_le_bytes().to_vec());
        let payload = Bytes::from(vec![1; 100_000]);
        bus.publish(TOPIC, key, payload).await.unwrap();
    }
    becomes(&notes.seen, |seen| !seen.is_empty()).await;
    let mut all = TopicPartitionList::new();
    let topic = format!("{}{TOPIC}", config.prefix);
    for lane in 0..LANES {
        all.add_partition_offset(&topic, lane, Offset::End).unwrap();
    }
    let removed = admin(&config)
        .delete_records(&all, &AdminOptions::new())
        .await
        .unwrap();
    assert!(removed.elements().iter().all(|it| it.error().is_ok()));
    notes.hold(false);
    becomes(&notes.begun, |begun| begun.len() >= 2).await;
    publish(&bus, 7..8, 1).await;
    caught_up(&following).await;
    assert_eq!(notes.numbers(), [7]);
    let begun = notes.begun.borrow().clone();
    assert!(begun[1].includes(&begun[0]) && begun[1] != begun[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_misses_nothing_while_brokers_come_and_go() {
    let (mock, bus) = mock();
    let notes = Arc::<Notes>::default();
    let following = bus.follow(TOPIC, 0, notes.clone()).await.unwrap();
    caught_up(&following).await;
    for round in 0..3 {
        mock.broker_down(1).unwrap();
        let waiting = following.caught_up();
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(300), waiting)
                .await
                .is_err(),
            "nobody knows where the topic ends"
        );
        mock.broker_up(1).unwrap();
        until("a publish succeeds", async || {
            let payload = Bytes::from(round_number(round).to_le_bytes().to_vec());
            bus.publish(TOPIC, Bytes::new(), payload).await.is_ok()
        })
        .await;
        until("he has it", async || {
            notes.numbers().contains(&round_number(round))
        })
        .await;
    }
    assert_eq!(notes.begun.borrow().len(), 1);
}

const fn round_number(round: u64) -> u64 {
    1_000 + round
}
