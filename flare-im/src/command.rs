//! What each subcommand does.

pub mod accept_loss;
pub mod apikey;
pub mod bench;
pub mod certs;
pub mod chat;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod process;
mod progress;
pub mod run;
pub mod send;
pub mod sign_in;
pub mod tail;
pub mod token;
pub mod up;
pub mod verify;

use crate::cli::{Cli, Command};

/// Does what the command line says.
pub async fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::AcceptLoss(args) => accept_loss::run(&args),
        Command::Up(args) => up::run(&args).await,
        Command::Run(args) => run::run(&args).await,
        Command::Token(args) => token::run(&args),
        Command::Apikey(args) => apikey::run(&args).await,
        Command::Chat(args) => chat::run(&args).await,
        Command::Send(args) => send::run(&args).await,
        Command::Tail(args) => tail::run(&args).await,
        Command::Bench(args) => bench::run(&args).await,
        Command::Verify(args) => verify::run(&args).await,
        Command::Explain(args) => explain::run(&args).await,
        Command::Config(args) => config::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Doctor(args) => doctor::run(&args).await,
    }
}
