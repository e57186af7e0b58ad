#![doc = include_str!("../README.md")]

mod evidence;
mod fuzz;
mod infra;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

/// The repository's own tools.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check the house rules that neither the compiler nor clippy knows
    ///
    /// Looks at every file that git tracks or would track, prints each problem as `file:line: rule: message`, all of
    /// them at once, and exits with status 1 if there is one. xtask/README.md lists the rules.
    Tidy {
        /// Check this rule only; may be given more than once
        #[arg(long, value_name = "RULE", value_parser = tidy::rule_names())]
        rule: Vec<String>,
    },
    /// Make the figures of doc/reliability.md: every attack on the promises, in about an hour
    ///
    /// Each step keeps what it has found under target/evidence: a run that was interrupted goes on where it was, as long as the commit
    /// is the same. Ends with a verdict, and with status 1 if a promise was broken.
    Evidence(evidence::Arguments),
    /// Fuzz every decoder of tests/decoders by libFuzzer
    ///
    /// Needs a nightly compiler and a C++ compiler. What is found stays under target/fuzz. Ends with status 1 if a decoder was broken, or
    /// a target has run nothing.
    Fuzz(fuzz::Arguments),
    /// Start and stop the servers that a cluster stands on: Kafka, PostgreSQL, Redis, etcd, and toxiproxy for faults
    ///
    /// As ordinary processes on loopback, with fresh data and free ports. Tests find them by variables; xtask/README.md tells more.
    Infra(infra::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        None => {
            Cli::command().print_help()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Tidy { rule }) => tidy::run(&rule),
        Some(Command::Evidence(arguments)) => evidence::run(&arguments),
        Some(Command::Fuzz(arguments)) => fuzz::run(&arguments),
        Some(Command::Infra(arguments)) => infra::run(&arguments),
    }
}

/// The repository's folder.
fn root() -> anyhow::Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().context("the folder of xtask has no parent")?;
    Ok(root.to_owned())
}
