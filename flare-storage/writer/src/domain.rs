//! Which of the log's records count, and what they add to the store.

pub mod fold;
