//! `flare token`.

use std::{path::Path, time::Duration};

use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    identity::{IdentityConfig, LocalJwt},
    process,
};

use crate::{cli, output::say};

/// A token signed with the key of a data folder.
pub fn mint(
    data: &Path,
    tenant: &str,
    user: &str,
    device: Option<&str>,
    ttl: Duration,
) -> anyhow::Result<String> {
    let (folder, _) = process::data_folder(data)?;
    let identity = IdentityConfig {
        tenants: vec![tenant.to_owned()],
        ..IdentityConfig::default()
    };
    let signer = LocalJwt::open(&identity, &folder, &IdSource::from_os())?;
    Ok(signer.mint(tenant, user, device, ttl, SystemClock.now_ms())?)
}

/// Prints a token.
pub fn run(args: &cli::Token) -> anyhow::Result<()> {
    let ttl = Duration::from_secs(args.ttl);
    let token = mint(
        &args.data.folder,
        &args.tenant,
        &args.user,
        args.device.as_deref(),
        ttl,
    )?;
    if args.json {
        let answer = serde_json::json!({
            "token": token, "user": args.user, "tenant": args.tenant, "device": args.device, "expires_in_s": args.ttl,
        });
        say!("{answer}");
    } else {
        say!("{token}");
    }
    Ok(())
}
