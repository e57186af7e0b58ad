//! `flare config`.

use super::load;
use crate::{
    cli::ConfigCommand,
    limits,
    output::{self, say},
    reference,
    role::Role,
};

/// Checks or prints the configuration of a process with every role, or a page about it.
pub fn run(args: &ConfigCommand) -> anyhow::Result<()> {
    match args {
        ConfigCommand::Check { config } => {
            load(config, &Role::ALL, None)?;
            say!("the configuration is good");
        }
        ConfigCommand::Print { config } => {
            output::text(&load(config, &Role::ALL, None)?.print());
        }
        ConfigCommand::Reference => output::text(&reference::page()),
        ConfigCommand::Limits => output::text(&limits::page()),
    }
    Ok(())
}
