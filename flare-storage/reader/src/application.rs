//! The queries.

pub mod access;
pub mod history;
pub mod locate;
pub mod ports;
pub mod ranges;
pub mod room;
