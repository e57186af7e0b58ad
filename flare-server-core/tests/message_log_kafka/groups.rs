//! Who works on which partitions.

use std::time::Duration;

use flare_server_core::{kafka::KafkaConfig, message_log::MessageLog};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{interval, timeout},
};

use crate::support::{PATIENCE, admin, fresh, installation, open};

const PARTITIONS: u32 = 8;
const GROUP: &str = "flare-message-orchestrator";

async fn until(
    assigned: &mut watch::Receiver<Vec<u32>>,
    is_so: impl Fn(&[u32]) -> bool,
) -> Vec<u32> {
    let found = timeout(PATIENCE, assigned.wait_for(|it| is_so(it))).await;
    found.expect("it never came").unwrap().clone()
}

/// Waits until the group has so many members, each of which knows what is its.
async fn are_members(kafka: &KafkaConfig, count: usize) {
    let has_members = move |kafka: KafkaConfig| {
        let group = format!("{}{GROUP}", kafka.prefix);
        let admin = admin(&kafka);
        let groups = admin.inner().fetch_group_list(Some(&group), PATIENCE);
        let groups = groups.unwrap();
        let mut groups = groups.groups().iter();
        groups.any(|it| it.state() == "Stable" && it.members().len() == count)
    };
    let come = async {
        let mut now_and_then = interval(Duration::from_millis(50));
        loop {
            now_and_then.tick().await;
            let kafka = kafka.clone();
            if spawn_blocking(move || has_members(kafka)).await.unwrap() {
                return;
            }
        }
    };
    timeout(PATIENCE, come).await.expect("they never came");
}

fn all() -> Vec<u32> {
    (0..PARTITIONS).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_a_group_share_the_partitions_and_who_leaves_hands_them_over() {
    let kafka = installation();
    let first = fresh(&kafka, PARTITIONS).await;
    let mut of_first = first.assignments(GROUP);
    assert_eq!(until(&mut of_first, |it| it.len() == 8).await, all());

    let second = open(&kafka, PARTITIONS).await;
    let mut of_second = second.assignments(GROUP);
    let half = until(&mut of_second, |it| it.len() == 4).await;
    let other_half = until(&mut of_first, |it| it.len() == 4).await;
    let mut both = [half, other_half].concat();
    both.sort_unstable();
    assert_eq!(both, all());

    // Nobody listens any more: the member leaves, and may come back.
    drop(of_second);
    let soon = Duration::from_secs(5);
    let took_over = timeout(soon, of_first.wait_for(|it| it.len() == 8)).await;
    took_over.expect("nobody took over at once").unwrap();
    let mut of_second = second.assignments(GROUP);
    until(&mut of_second, |it| it.len() == 4).await;

    // So does the member of a log that is closed.
    second.close();
    assert_eq!(*of_second.borrow_and_update(), Vec::<u32>::new());
    let took_over = timeout(soon, of_first.wait_for(|it| it.len() == 8)).await;
    took_over.expect("nobody took over at once").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_have_all_partitions_each() {
    let kafka = installation();
    let log = fresh(&kafka, PARTITIONS).await;
    let mut owners = log.assignments(GROUP);
    let mut writers = log.assignments("flare-storage-writer");
    assert_eq!(until(&mut owners, |it| it.len() == 8).await, all());
    assert_eq!(until(&mut writers, |it| it.len() == 8).await, all());
    let mut owners_too = log.assignments(GROUP);
    assert_eq!(*owners_too.borrow_and_update(), all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_member_keeps_its_partitions_longer_than_a_session() {
    let kafka = installation();
    let log = fresh(&kafka, PARTITIONS).await;
    let mut assigned = log.assignments(GROUP);
    until(&mut assigned, |it| it.len() == 8).await;
    let lost = timeout(Duration::from_secs(12), assigned.changed()).await;
    assert!(lost.is_err(), "assigned now: {:?}", assigned.borrow());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_member_that_leaves_without_partitions() {
    let kafka = installation();
    let first = fresh(&kafka, 1).await;
    let mut of_first = first.assignments(GROUP);
    until(&mut of_first, |it| it.len() == 1).await;
    let idle = open(&kafka, 1).await;
    let of_idle = idle.assignments(GROUP);
    are_members(&kafka, 2).await;
    idle.close();
    assert_eq!(*of_idle.borrow(), Vec::<u32>::new());

    // Who is left hands its partition over to whoever comes next.
    let next = open(&kafka, 1).await;
    let mut of_next = next.assignments(GROUP);
    first.close();
    let took_over = timeout(Duration::from_secs(5), of_next.wait_for(|it| it.len() == 1)).await;
    took_over.expect("nobody took over at once").unwrap();
}
