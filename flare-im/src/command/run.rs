//! `flare run`.

use flare_server_core::process::{self, DevelopmentSignIn, Ground};

use super::{begin, load};
use crate::{cli, compose, output::say, plugins::Plugins};

/// Starts some roles, and serves until a signal.
pub async fn run(args: &cli::Run) -> anyhow::Result<()> {
    let loaded = load(&args.config, &args.roles, None)?;
    let telemetry = begin(&loaded.config.base, &args.roles)?;
    let (data, _) = process::data_folder(&args.data.folder)?;
    let ground = Ground {
        data,
        telemetry: telemetry.clone(),
        development_sign_in: DevelopmentSignIn::Off,
    };
    let process = compose::start(&loaded.config, &ground, &args.roles, Plugins::default()).await?;
    let addresses = process.addresses().clone();
    if args.json {
        say!("{}", serde_json::to_string(&addresses)?);
    }
    tracing::info!(roles = ?args.roles, ?addresses, "ready");
    Ok(process.serve_until_signal(telemetry).await?)
}
