//! When a process says that it is ready.

use std::time::Duration;

use flare_storage_writer::application::outages::Of;
use tokio::time::Instant;

use crate::{
    judge::all_is_published,
    process::{Ground, Process},
    until,
};

#[tokio::test]
async fn a_process_is_ready_when_it_has_caught_up_with_what_it_was_assigned() {
    let (ground, mut talk) = Ground::new();
    talk.say("g", 3);
    let process = Process::start_with(&ground, &[0, 1, 2, 3], |_, store| {
        store.down.send_replace(true);
    });
    let outages = &process.around.outages;
    until("it waits", async || outages.waiting(Of::Store) > 0).await;
    assert!(!process.is_ready());
    process.store.down.send_replace(false);
    until("it is ready", async || process.is_ready()).await;
    assert!(ground.is_stored().await);
    all_is_published(&ground, &talk).await;
    process.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_gets_no_partition_is_ready_after_a_while() {
    let (ground, _talk) = Ground::new();
    let begun = Instant::now();
    let process = Process::start(&ground, &[]);
    until("it is ready", async || {
        tokio::time::advance(Duration::from_millis(100)).await;
        process.is_ready()
    })
    .await;
    let after = begun.elapsed();
    assert!(after >= Duration::from_secs(15), "{after:?}");
    process.drain().await;
}
