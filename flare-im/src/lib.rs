#![doc = include_str!("../README.md")]
#![warn(clippy::print_stdout)]

pub mod cli;
pub mod command;
pub mod compose;
pub mod config;
pub mod limits;
pub mod listen;
mod output;
pub mod plugins;
pub mod reference;
pub mod role;
