//! The use cases. Commands change a conversation through its aggregate and the outbox; queries read projections.

pub mod access;
pub mod commands;
pub mod delivered;
pub mod delivered_buffer;
pub mod heads;
pub mod inbox;
pub mod outbox;
pub mod ports;
pub mod position_buffer;
pub mod positions;
pub mod queries;
pub mod reads;
pub mod refusals;
pub mod settings;
pub mod signals;
pub mod stream;
pub mod turns;
