//! push-server with the outside played by the test.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod deliver;
mod gateways;
mod large;
mod outside;
mod rosters;
mod signals;
