//! Processes that share a log of many partitions, publish what they commit, and are interrupted in every way.
//!
//! Log, bus and cursors are in memory and outlive the processes; the store is the embedded one.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bus;
mod cursors;
mod faults;
mod find;
mod handing_over;
mod judge;
mod log;
mod process;
mod readiness;
mod store;
mod storm;
mod talk;

use std::time::Duration;

/// So long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
