//! Who gets an event.

pub mod event;
pub mod roster;
