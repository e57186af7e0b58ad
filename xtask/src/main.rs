#![doc = include_str!("../README.md")]

mod tidy;

use std::process::ExitCode;

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
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        None => {
            Cli::command().print_help()?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Tidy { rule }) => tidy::run(&rule),
    }
}
