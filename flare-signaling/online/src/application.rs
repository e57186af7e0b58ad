//! What the service does: registrations change presence, revocations end it, queries read it.

pub mod closing;
pub mod ports;
pub mod queries;
pub mod registration;
pub mod sign_out;
pub mod tokens;
