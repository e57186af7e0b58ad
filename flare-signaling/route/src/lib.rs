#![doc = include_str!("../README.md")]

pub mod application;
pub mod config;
pub mod domain;
pub mod handler;
mod service;

pub use config::RouteConfig;
pub use service::{build, hosted};
