//! The queries.

pub mod access;
pub mod history;
pub mod ports;
pub mod ranges;
