//! Revocations in PostgreSQL: the suite that SQLite passes, and what several processes do to each other.
//!
//! `FLARE_TEST_POSTGRES` names the server; `cargo xtask infra up` starts one.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../stores/obligations.rs"]
mod obligations;
mod place;
mod races;
#[path = "../stores/revocations.rs"]
mod revocations;

pub(crate) use obligations::{Obligation, Outcome, same, violated};
