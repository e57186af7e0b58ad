//! The gateway from outside: real WebSocket clients on one side, the other services played on the other.
#![expect(clippy::expect_used, reason = "tests")]

mod calling;
mod connecting;
mod delivering;
mod ending;
mod harness;
mod large;
mod limits;
mod online;
mod owners;
mod presence;
mod push;
mod router;
mod sending;
mod services;
mod table;
mod wire;
