#![doc = include_str!("../README.md")]

pub mod application;
pub mod config;
pub mod domain;
pub mod handler;
pub mod infrastructure;
mod service;

pub use config::PushServerConfig;
pub use service::{build, hosted};
