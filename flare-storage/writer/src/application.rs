//! The use cases.

pub mod around;
pub mod find_in_log;
pub mod follow;
pub mod lag;
pub mod outages;
pub mod partitions;
pub mod ports;
pub mod publish;
pub mod published;
pub mod trim;
mod work;
