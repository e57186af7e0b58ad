//! Instances of the service on loopback, and those who tell and ask them, each on a runtime of its own: it dies with that.
#![expect(clippy::expect_used, reason = "tests")]

mod directories;
mod ground;
mod owners;
