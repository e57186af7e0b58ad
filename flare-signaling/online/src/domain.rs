//! What presence and revocation are, without I/O.

pub mod presence;
pub mod revocation;
