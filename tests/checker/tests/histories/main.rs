//! The judge is judged: forged histories must be named for what they are, true ones must pass.
#![expect(clippy::expect_used, reason = "tests")]

mod files;
mod forged_order;
mod forged_readers;
mod forged_receipts;
mod forged_strangers;
mod good;
mod model;
mod random;
mod steps;
mod story;
mod verdicts;
