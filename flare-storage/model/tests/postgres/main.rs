//! The store on PostgreSQL: the contract, and what is its own, on a real server.
//!
//! `FLARE_TEST_POSTGRES` is the url of a database of a role that may make databases, as `cargo xtask infra up` starts it.

#![expect(clippy::expect_used, reason = "tests")]

mod cable;
mod contract;
mod database;
mod log;
mod lost;
mod partitions;
mod same_as_embedded;
mod waiting;
mod writers;
