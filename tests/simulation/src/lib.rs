#![doc = include_str!("../README.md")]

mod campaign;
mod clients;
mod faults;
mod gateway;
mod log;
mod session;
mod store;
mod world;

pub use campaign::{Campaign, Failure, Life, Report};
pub use faults::{Bites, Faults};
