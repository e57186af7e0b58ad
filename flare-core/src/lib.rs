#![doc = include_str!("../README.md")]

pub mod check;
pub mod codec;
pub mod content;
pub mod deliver;
pub mod heartbeat;
pub mod json;
pub mod outbound;
pub mod pending;
pub mod transport;
mod wire;
