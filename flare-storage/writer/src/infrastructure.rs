//! Where the public stream comes from, and how far it is.

pub mod embedded_persisted_view;
#[cfg(feature = "cluster")]
pub mod postgres_published_cursors;
