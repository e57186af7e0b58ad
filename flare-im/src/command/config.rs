//! `flare config`.

use super::process;
use crate::{cli::ConfigCommand, limits, reference, role::Role};

/// Checks or prints the configuration of a process with every role, or a page about it.
pub fn run(args: &ConfigCommand) -> anyhow::Result<()> {
    match args {
        ConfigCommand::Check { config } => {
            process::load(config, &Role::ALL, None)?;
            println!("the configuration is good");
        }
        ConfigCommand::Print { config } => {
            print!("{}", process::load(config, &Role::ALL, None)?.print());
        }
        ConfigCommand::Reference => print!("{}", reference::page()),
        ConfigCommand::Limits => print!("{}", limits::page()),
    }
    Ok(())
}
