//! `flare config`.

use super::process;
use crate::{cli::ConfigCommand, role::Role};

/// Checks or prints the configuration of a process with every role.
pub fn run(args: &ConfigCommand) -> anyhow::Result<()> {
    match args {
        ConfigCommand::Check { config } => {
            process::load(config, &Role::ALL, None)?;
            println!("the configuration is good");
        }
        ConfigCommand::Print { config } => {
            print!("{}", process::load(config, &Role::ALL, None)?.print());
        }
    }
    Ok(())
}
