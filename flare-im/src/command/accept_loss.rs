//! `flare accept-loss`.

use anyhow::Context;
use flare_server_core::inventory;

use crate::{cli, output::say};

/// Strikes a file from the data folder's inventory.
pub fn run(args: &cli::AcceptLoss) -> anyhow::Result<()> {
    let data = args
        .data
        .folder
        .canonicalize()
        .with_context(|| format!("data folder {}", args.data.folder.display()))?;
    inventory::accept_loss(&data, &args.name)?;
    say!(
        "{} is no longer expected to be what it was: the next start takes it as it is, and makes it if it is missing",
        args.name
    );
    Ok(())
}
