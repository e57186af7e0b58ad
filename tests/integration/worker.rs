//! A writer or a reader in a process of its own, for the kill loop.

use std::process::ExitCode;

/// The first argument of such a process.
pub const WORD: &str = "worker";

pub fn main(_words: impl Iterator<Item = String>) -> ExitCode {
    ExitCode::FAILURE
}
