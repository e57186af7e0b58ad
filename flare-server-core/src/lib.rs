#![doc = include_str!("../README.md")]

pub mod channels;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod error;
pub mod event_bus;
pub mod identity;
pub mod log_file;
pub mod message_log;
pub mod ops;
pub mod platform;
pub mod readiness;
pub mod registry;
pub mod service;
pub mod shutdown;
pub mod telemetry;
