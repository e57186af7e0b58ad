//! API keys in PostgreSQL.
//!
//! `FLARE_TEST_POSTGRES` names the server; `cargo xtask infra up` starts one.

#![expect(
    clippy::expect_used,
    reason = "tests, their parts outside of test functions too"
)]

#[path = "../api_key_store/contract.rs"]
mod contract;
mod place;
