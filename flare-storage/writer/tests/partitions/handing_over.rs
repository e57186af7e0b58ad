//! Processes that come and go, and partitions that change hands.

use flare_storage_model::MessageStore;

use crate::{
    judge::{
        all_is_published, first_times_are_in_order, published, repeats_are_whole, store_is_the_fold,
    },
    process::{Ground, PARTITIONS, Process},
    until,
};

#[tokio::test]
async fn while_nothing_fails_each_event_is_stored_and_published_once() {
    let (ground, mut talk) = Ground::new();
    let one = Process::start(&ground, &[0, 1]);
    let other = Process::start(&ground, &[2, 3]);
    for round in 0..30 {
        for conversation in 0..20 {
            talk.say(&format!("g{conversation}"), 1 + round % 3);
        }
        talk.take_over(u32::try_from(round).unwrap() % PARTITIONS);
        tokio::task::yield_now().await;
    }
    all_is_published(&ground, &talk).await;
    one.drain().await;
    other.drain().await;
    for (key, seqs) in published(&ground) {
        let once: Vec<_> = (1..=talk.seqs()[&key]).collect();
        assert_eq!(seqs, once, "{key}");
    }
    store_is_the_fold(&ground).await;
    for partition in 0..PARTITIONS {
        let stored = ground.store.cursor(partition).await.unwrap();
        assert_eq!(ground.cursors.kept(partition), stored, "kept at the drain");
    }
}

#[tokio::test]
async fn what_a_crash_left_committed_and_not_published_is_published_by_the_next() {
    let (ground, mut talk) = Ground::new();
    for round in 0..3 {
        for conversation in 0..8 {
            talk.say(&format!("g{conversation}"), 1 + round);
        }
    }
    let dies = Process::start_with(&ground, &[0, 1, 2, 3], |bus, _| {
        bus.held.send_replace(true);
    });
    let is_committed = async || {
        let mut committed = false;
        for partition in 0..PARTITIONS {
            committed |= ground.store.cursor(partition).await.unwrap().next_offset > 1;
        }
        committed && *dies.bus.given.borrow() > 0
    };
    until("something is committed", is_committed).await;
    dies.crash().await;
    assert!(published(&ground).is_empty(), "nothing got out");

    let next = Process::start(&ground, &[0, 1, 2, 3]);
    talk.say("g1", 2);
    all_is_published(&ground, &talk).await;
    next.drain().await;
    first_times_are_in_order(&ground, &talk);
    repeats_are_whole(&ground);
    store_is_the_fold(&ground).await;
}

#[tokio::test]
async fn what_was_published_and_not_kept_as_such_is_repeated_and_nothing_is_missing() {
    let (ground, mut talk) = Ground::new();
    let dies = Process::start(&ground, &[0, 1, 2, 3]);
    until("it has begun", async || dies.is_ready()).await;
    // From here on nothing is kept.
    ground.cursors.down.send_replace(true);
    for conversation in 0..8 {
        talk.say(&format!("g{conversation}"), 3);
    }
    all_is_published(&ground, &talk).await;
    dies.crash().await;
    ground.cursors.down.send_replace(false);

    let next = Process::start(&ground, &[0, 1, 2, 3]);
    for conversation in 0..8 {
        talk.say(&format!("g{conversation}"), 1);
    }
    all_is_published(&ground, &talk).await;
    next.drain().await;
    for (key, seqs) in published(&ground) {
        assert_eq!(seqs, [1, 2, 3, 1, 2, 3, 4], "{key}");
    }
    store_is_the_fold(&ground).await;
}

#[tokio::test]
async fn a_partition_that_is_revoked_goes_on_elsewhere() {
    let (ground, mut talk) = Ground::new();
    let one = Process::start(&ground, &[0, 1, 2, 3]);
    let other = Process::start(&ground, &[]);
    for round in 0..40 {
        let (left, right): (Vec<u32>, Vec<u32>) =
            (0..PARTITIONS).partition(|it| (it + round / 5) % 3 == 0);
        one.assign(&left);
        other.assign(&right);
        for conversation in 0..6 {
            talk.say(&format!("g{conversation}"), 2);
        }
        tokio::task::yield_now().await;
    }
    all_is_published(&ground, &talk).await;
    assert!(one.is_ready());
    one.drain().await;
    other.drain().await;
    first_times_are_in_order(&ground, &talk);
    store_is_the_fold(&ground).await;
}

#[tokio::test]
async fn two_writers_of_the_same_partitions_do_no_harm() {
    let (ground, mut talk) = Ground::new();
    let all = [0, 1, 2, 3];
    let one = Process::start(&ground, &all);
    let other = Process::start(&ground, &all);
    for round in 0..60 {
        // New conversations all the time, so that heads are read while the other commits.
        for conversation in 0..5 {
            talk.say(&format!("g{}", round * 2 + conversation), 1 + round % 2);
        }
        tokio::task::yield_now().await;
    }
    all_is_published(&ground, &talk).await;
    until("both are at the end", async || {
        one.around.lag.behind().is_empty() && other.around.lag.behind().is_empty()
    })
    .await;
    assert!(one.is_ready() && other.is_ready(), "neither has halted");
    one.drain().await;
    other.drain().await;
    first_times_are_in_order(&ground, &talk);
    store_is_the_fold(&ground).await;
}

#[tokio::test]
async fn a_writer_that_was_stopped_for_long_only_repeats() {
    let (ground, mut talk) = Ground::new();
    let all = [0, 1, 2, 3];
    for conversation in 0..6 {
        talk.say(&format!("g{conversation}"), 4);
    }
    // It is stopped with batches in hand, and still believes that the partitions are its.
    let zombie = Process::start_with(&ground, &all, |bus, _| {
        bus.held.send_replace(true);
    });
    until("it has begun", async || *zombie.bus.given.borrow() > 0).await;
    let next = Process::start(&ground, &all);
    for _ in 0..10 {
        for conversation in 0..6 {
            talk.say(&format!("g{conversation}"), 1);
        }
    }
    all_is_published(&ground, &talk).await;
    let before = ground.topic.borrow().len();
    zombie.bus.held.send_replace(false);
    until("it goes on", async || ground.topic.borrow().len() > before).await;
    zombie.assign(&[]);
    zombie.drain().await;
    for conversation in 0..6 {
        talk.say(&format!("g{conversation}"), 1);
    }
    all_is_published(&ground, &talk).await;
    next.drain().await;
    first_times_are_in_order(&ground, &talk);
    store_is_the_fold(&ground).await;
    for partition in 0..PARTITIONS {
        let stored = ground.store.cursor(partition).await.unwrap();
        assert_eq!(ground.cursors.kept(partition), stored, "nothing went back");
    }
}

#[tokio::test]
async fn what_a_drain_could_not_publish_is_not_kept_as_published() {
    let (ground, mut talk) = Ground::new();
    let name = talk.conversation_of(2);
    let said = talk.say(&name, 3);
    let process = Process::start_with(&ground, &[2], |bus, _| {
        bus.held.send_replace(true);
    });
    until("it is committed", async || {
        ground.store.cursor(2).await.unwrap().next_offset > said.offset
    })
    .await;
    process.drain().await;
    assert!(ground.cursors.kept(2).next_offset <= said.offset);
    let next = Process::start(&ground, &[2]);
    all_is_published(&ground, &talk).await;
    next.drain().await;
    assert!(ground.cursors.kept(2).next_offset > said.offset);
}
