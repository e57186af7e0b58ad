//! The service and its stores on PostgreSQL: the suites that SQLite passes, and what several processes do to each other.
//!
//! `FLARE_TEST_POSTGRES` names the server; `cargo xtask infra up` starts one.

#![expect(clippy::expect_used, reason = "tests: what fails is the test")]

#[path = "../session/access.rs"]
mod access;
#[path = "../session/commands.rs"]
mod commands;
#[path = "../session/stores/contract.rs"]
mod contract;
#[path = "../session/crashes.rs"]
mod crashes;
#[path = "../session/delivered.rs"]
mod delivered;
#[path = "../session/fake_log.rs"]
mod fake_log;
#[path = "../session/former.rs"]
mod former;
mod house;
#[path = "../session/inbox.rs"]
mod inbox;
mod inbox_of_several;
#[path = "../session/inbox_random.rs"]
mod inbox_random;
#[path = "../session/lanes.rs"]
mod lanes;
#[path = "../session/large.rs"]
mod large;
mod outbox_of_several;
mod place;
#[path = "../session/positions.rs"]
mod positions;
mod races;
mod two_processes;
#[path = "../session/world.rs"]
mod world;
