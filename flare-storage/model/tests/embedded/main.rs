//! The embedded store: the contract, what breaks it, and what is its own.

#![expect(clippy::expect_used, reason = "tests")]

mod contract;
mod damaged;
mod faults;
mod killed;
mod life;
mod power_loss;
mod subject;
mod unwritable;
