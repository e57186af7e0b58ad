//! Who may ask for what, without I/O.

pub mod api_key;
pub mod caller;
pub mod scope;
