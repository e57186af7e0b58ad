//! Decisions: synchronous code without I/O, clock or randomness. All of it is driven by arguments, so that a simulation can drive it too.

pub mod command;
mod decide;
mod generations;
mod lanes;
mod lines;
mod memory;
pub mod owner;
mod rules;
mod store_lag;
