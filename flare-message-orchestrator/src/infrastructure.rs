//! Adapters of the ports.

pub mod session_authority;
