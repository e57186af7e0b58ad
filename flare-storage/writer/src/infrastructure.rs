//! Where the public stream comes from.

pub mod embedded_persisted_view;
