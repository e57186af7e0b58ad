//! The event bus in Kafka keeps the contract of `EventBus` on a real server, named by `FLARE_TEST_KAFKA`, and what it owes beyond that.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod contract;
mod faults;
mod groups;
mod kafka;
mod killed;
mod measure;
mod recorder;
mod topics;
