//! What the gateway does with connections, whatever they are made of.

pub mod connection;
pub mod connections;
pub mod large;
pub mod ports;
pub mod positions;
pub mod registrar;
pub mod signals;
pub mod submitter;
