//! What the service does: delivers events, passes on signals.

pub mod deliver;
pub mod large;
pub mod missed;
pub mod ports;
pub mod rosters;
pub mod signal;
