//! The use cases.

pub mod find_in_log;
pub mod follow;
