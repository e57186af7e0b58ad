//! Commands in, receipts out: the door, the partitions' tasks, and the ports that they need.

pub mod hooks;
pub mod partition;
pub mod ports;
pub mod rate_limits;
pub mod streams;
pub mod turns;
