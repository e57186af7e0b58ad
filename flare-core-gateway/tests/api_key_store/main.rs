//! API keys in SQLite.

#![expect(
    clippy::expect_used,
    reason = "tests, their parts outside of test functions too"
)]

mod contract;
mod place;
