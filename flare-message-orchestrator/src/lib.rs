#![doc = include_str!("../README.md")]

pub mod application;
pub mod config;
pub mod domain;
pub mod handler;
pub mod infrastructure;
pub mod service;

pub use domain::owner;

thread_local! { static MUTANT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) }; }
pub(crate) fn mutant(n: u32) -> bool { MUTANT.get() == n }
#[cfg(test)] pub(crate) fn set_mutant(n: u32) { MUTANT.set(n) }
