//! What each subcommand does.

pub mod accept_loss;
pub mod apikey;
pub mod bench;
pub mod certs;
pub mod chat;
pub mod config;
pub mod doctor;
pub mod explain;
mod progress;
pub mod run;
pub mod send;
pub mod sign_in;
pub mod tail;
pub mod token;
#[cfg(feature = "cluster")]
pub mod topics;
pub mod up;
pub mod verify;

use flare_server_core::{
    config::Loaded,
    process::{self, BaseConfig, ConfigArgs},
    telemetry::Telemetry,
};

use crate::{
    cli::{Cli, Command},
    config::{Config, ServicesConfig},
    role::Role,
};

/// What telemetry calls every process of this binary, whatever roles it runs.
const SERVICE: &str = "flare";

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
        #[cfg(feature = "cluster")]
        Command::Topics(args) => topics::run(&args).await,
        Command::Doctor(args) => doctor::run(&args).await,
    }
}

/// The configuration of a process that runs these roles. `argument` is one that stands for TOML, above every other layer.
fn load(
    args: &ConfigArgs,
    roles: &[Role],
    argument: Option<(&str, String)>,
) -> anyhow::Result<Loaded<Config>> {
    let services: Vec<_> = roles.iter().map(|it| it.service()).collect();
    Ok(process::load::<ServicesConfig>(
        args, &services, None, argument,
    )?)
}

/// Begins logs, metrics and traces of a process that runs these roles.
fn begin(config: &BaseConfig, roles: &[Role]) -> anyhow::Result<Telemetry> {
    let roles = roles.iter().map(Role::to_string).collect();
    Ok(process::begin(config, SERVICE, roles)?)
}
