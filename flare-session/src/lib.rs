#![doc = include_str!("../README.md")]

pub mod application;
pub mod config;
pub mod domain;
pub mod handler;
pub mod infrastructure;
pub mod service;

pub use config::SessionConfig;
pub use service::{build, hosted};
