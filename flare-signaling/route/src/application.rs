//! The directories as the service keeps them.

pub mod directories;
