//! What the service does: follow the log.

pub mod follow;
