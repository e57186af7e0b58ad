//! Log, store, bus and cursors that do not answer, and partitions that must halt.

use std::time::Instant;

use bytes::Bytes;
use flare_storage_model::MessageStore;
use flare_storage_writer::application::outages::Of;

use crate::{
    judge::{
        all_is_published, first_times_are_in_order, published, repeats_are_whole, store_is_the_fold,
    },
    process::{Ground, PARTITIONS, Process},
    until,
};

const ALL: [u32; 4] = [0, 1, 2, 3];

#[tokio::test]
async fn a_batch_of_unknown_outcome_is_published_again_from_its_beginning() {
    let (ground, mut talk) = Ground::new();
    let process = Process::start(&ground, &ALL);
    *process.bus.break_after.lock().unwrap() = Some(2);
    let conversation = talk.conversation_of(1);
    talk.say(&conversation, 5);
    all_is_published(&ground, &talk).await;
    process.drain().await;
    let seqs: Vec<_> = published(&ground).into_values().collect();
    assert_eq!(seqs, [[1, 2, 1, 2, 3, 4, 5]]);
}

#[tokio::test]
async fn whatever_does_not_answer_for_a_while_ends_nothing() {
    let (ground, mut talk) = Ground::new();
    let process = Process::start(&ground, &ALL);
    until("it has begun", async || process.is_ready()).await;
    let mut say = || {
        for conversation in 0..8 {
            talk.say(&format!("g{conversation}"), 2);
        }
    };
    let waits = async |of: Of| {
        until("somebody waits", async || {
            process.around.outages.waiting(of) > 0
        })
        .await;
    };
    let answers = async |of: Of| {
        until("nobody waits", async || {
            process.around.outages.waiting(of) == 0
        })
        .await;
    };

    process.log.down.send_replace(true);
    waits(Of::Log).await;
    process.log.down.send_replace(false);
    answers(Of::Log).await;
    process.log.down.send_replace(true);
    say();
    waits(Of::Log).await;
    process.log.down.send_replace(false);
    answers(Of::Log).await;

    process.store.down.send_replace(true);
    say();
    waits(Of::Store).await;
    assert!(!process.around.lag.behind().is_empty());
    process.store.down.send_replace(false);
    answers(Of::Store).await;

    process.bus.down.send_replace(true);
    say();
    waits(Of::Bus).await;
    process.bus.down.send_replace(false);
    answers(Of::Bus).await;

    ground.cursors.down.send_replace(true);
    say();
    waits(Of::Cursors).await;
    ground.cursors.down.send_replace(false);
    answers(Of::Cursors).await;

    say();
    all_is_published(&ground, &talk).await;
    assert!(process.is_ready(), "nothing has halted");
    process.drain().await;
    first_times_are_in_order(&ground, &talk);
    repeats_are_whole(&ground);
    store_is_the_fold(&ground).await;
}

#[tokio::test]
async fn a_partition_with_a_record_that_does_not_decode_halts_alone() {
    let (ground, mut talk) = Ground::new();
    let process = Process::start(&ground, &ALL);
    until("it has begun", async || process.is_ready()).await;
    let names: Vec<_> = ALL.iter().map(|it| talk.conversation_of(*it)).collect();
    for name in &names {
        talk.say(name, 1);
    }
    all_is_published(&ground, &talk).await;
    let at = ground.log.append(2, Bytes::from_static(&[99, 1, 2]));
    until("it says so", async || !process.is_ready()).await;
    talk.say(&names[2], 1);
    for name in [&names[0], &names[1], &names[3]] {
        talk.say(name, 3);
    }
    until("the others go on", async || {
        published(&ground)
            .into_values()
            .map(|it| it.len())
            .sum::<usize>()
            == 4 + 9
    })
    .await;
    let stored = ground.store.cursor(2).await.unwrap();
    assert_eq!(stored.next_offset, at, "nothing is passed over");

    // Elsewhere it halts as well; here all is well again.
    process.assign(&[0, 1, 3]);
    until("it is ready", async || process.is_ready()).await;
    let other = Process::start(&ground, &[2]);
    process.assign(&ALL);
    until("it says so again", async || !process.is_ready()).await;
    assert!(!other.is_ready());
    process.drain().await;
    other.drain().await;
}

#[tokio::test]
async fn an_event_that_does_not_follow_halts_its_partition() {
    let (ground, mut talk) = Ground::new();
    let name = talk.conversation_of(0);
    let said = talk.say(&name, 1);
    let process = Process::start(&ground, &ALL);
    until("it has begun", async || process.is_ready()).await;
    // An owner who forgot what he had sequenced.
    let mut forgetful = crate::talk::Talk::new(&ground.log, PARTITIONS);
    forgetful.take_over(0);
    let again = forgetful.say(&name, 1);
    until("it says so", async || !process.is_ready()).await;
    let stored = ground.store.cursor(0).await.unwrap();
    assert!(said.offset < stored.next_offset && stored.next_offset <= again.offset);
    process.drain().await;
}

#[tokio::test]
async fn the_log_is_kept_from_where_it_would_be_published_again() {
    let (ground, mut talk) = Ground::new();
    let process = Process::start_with(&ground, &ALL, |bus, _| {
        bus.held.send_replace(true);
    });
    let name = talk.conversation_of(3);
    talk.say(&name, 2);
    let trimmed = async |released: u64| {
        until("it is trimmed", async || {
            process
                .trims_of(3)
                .last()
                .is_some_and(|it| it.0 >= released)
        })
        .await;
    };
    until("it is told", async || !process.trims_of(3).is_empty()).await;
    assert!(
        process.trims_of(3).iter().all(|it| it.0 == 0),
        "nothing is published"
    );
    process.bus.held.send_replace(false);
    until("it is kept", async || {
        ground.cursors.kept(3).next_offset > 1
    })
    .await;
    talk.say(&name, 1);
    trimmed(2).await;
    for (released, stored) in process.trims_of(3) {
        assert!(released <= stored);
    }
    process.drain().await;
}

#[tokio::test]
async fn cursors_are_kept_all_at_once_and_seldom() {
    let (ground, mut talk) = Ground::new();
    let begun = Instant::now();
    let process = Process::start(&ground, &ALL);
    for round in 0..50 {
        for conversation in 0..8 {
            talk.say(&format!("g{conversation}"), 1);
        }
        if round % 10 == 0 {
            all_is_published(&ground, &talk).await;
        }
    }
    all_is_published(&ground, &talk).await;
    let ticks = begun.elapsed().as_millis() / 100 + 1;
    let saves = *ground.cursors.saves.borrow();
    assert!(saves as u128 <= ticks, "{saves} in {ticks} ticks");
    process.drain().await;
}
