//! The service against its contract: through `SessionService` and the stream, on the real database, with a log that can fail.

#![expect(clippy::expect_used, reason = "tests: what fails is the test")]

mod access;
mod alone;
mod commands;
#[path = "stores/contract.rs"]
mod contract;
mod crashes;
mod delivered;
mod fake_log;
mod former;
mod inbox;
mod inbox_random;
mod lanes;
mod large;
mod place;
mod positions;
mod process;
mod service;
mod stores;
mod world;
