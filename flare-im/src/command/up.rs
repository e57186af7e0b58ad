//! `flare up`.

use std::{path::Path, time::Duration};

use anyhow::Context;
use flare_proto::{
    common::{Actor, ActorKind, RequestContext, TenantContext},
    message::{ConversationClass, HistoryVisibility},
    session::{CreateConversationRequest, session_service_client::SessionServiceClient},
};
use flare_server_core::{
    platform::Platform,
    process::{self, Addresses, DevelopmentSignIn, Ground},
    registry::service,
};
use serde::Serialize;

use super::{begin, load, token};
use crate::{cli, compose, listen::Listen, output::say, plugins::Plugins, role::Role};

/// Who a fresh data folder has.
const DEMO_USERS: [&str; 3] = ["alice", "bob", "carol"];
const DEMO_TENANT: &str = "default";
/// The group that they share.
const DEMO_GROUP: &str = "welcome";
/// How long a development link is good.
const LINK_TTL: Duration = Duration::from_secs(7 * 86_400);

/// The line that `--json` prints.
#[derive(Debug, Serialize)]
struct Started<'a> {
    #[serde(flatten)]
    addresses: &'a Addresses,
    data: &'a Path,
    links: &'a [Link],
}

/// Signs a demo user in.
#[derive(Debug, Serialize)]
struct Link {
    user: &'static str,
    url: String,
}

/// Starts every role, and serves until a signal.
pub async fn run(args: &cli::Up) -> anyhow::Result<()> {
    let listen = args.listen.as_deref().map(Listen::parse).transpose()?;
    let listen = listen.map(|it| ("argument --listen", it.toml()));
    let loaded = load(&args.config, &Role::ALL, listen)?;
    let telemetry = begin(&loaded.config.base, &Role::ALL)?;
    let ephemeral = args
        .ephemeral
        .then(tempfile::tempdir)
        .transpose()
        .context("temporary data folder")?;
    let (data, used) = process::data_folder(
        ephemeral
            .as_ref()
            .map_or(args.data.folder.as_path(), |it| it.path()),
    )?;
    let development_sign_in = if args.dev {
        DevelopmentSignIn::On
    } else {
        DevelopmentSignIn::OnLoopback
    };
    let ground = Ground {
        data: data.clone(),
        telemetry: telemetry.clone(),
        development_sign_in,
    };
    let process = compose::start(&loaded.config, &ground, &Role::ALL, Plugins::default()).await?;

    if !used {
        make_demo_group(process.platform()).await?;
    }
    let links = if development_sign_in.exists(process.addresses())
        && loaded.config.base.identity.local_key
    {
        links(&data, process.addresses())?
    } else {
        Vec::new()
    };
    let started = Started {
        addresses: process.addresses(),
        data: &data,
        links: &links,
    };
    if args.json {
        say!("{}", serde_json::to_string(&started)?);
    } else {
        welcome(&started);
    }
    Ok(process.serve_until_signal(telemetry).await?)
}

async fn make_demo_group(platform: &Platform) -> anyhow::Result<()> {
    let mut session = SessionServiceClient::new(platform.channels.get(service::SESSION));
    let request = CreateConversationRequest {
        context: Some(RequestContext {
            actor: Some(Actor {
                kind: ActorKind::System.into(),
                ..Actor::default()
            }),
            tenant: Some(TenantContext {
                tenant_id: DEMO_TENANT.to_owned(),
            }),
            ..RequestContext::default()
        }),
        client_id: format!("up-{DEMO_GROUP}"),
        conversation_id: DEMO_GROUP.to_owned(),
        title: "Welcome".to_owned(),
        member_ids: DEMO_USERS
            .iter()
            .skip(1)
            .map(|it| (*it).to_owned())
            .collect(),
        history_visibility: HistoryVisibility::All.into(),
        owner_id: DEMO_USERS[0].to_owned(),
        class: ConversationClass::Unspecified.into(),
    };
    session
        .create_conversation(request)
        .await
        .context("the group of the demo users")?;
    Ok(())
}

fn links(data: &Path, addresses: &Addresses) -> anyhow::Result<Vec<Link>> {
    let Some(page) = addresses.api_url() else {
        return Ok(Vec::new());
    };
    DEMO_USERS
        .into_iter()
        .map(|user| {
            let token = token::mint(data, DEMO_TENANT, user, None, LINK_TTL)?;
            // Behind the hash: a browser sends it to nobody.
            Ok(Link {
                user,
                url: format!("{page}/#token={token}"),
            })
        })
        .collect()
}

fn welcome(started: &Started<'_>) {
    say!(
        "Flare IM Core {} is up. Data: {}",
        env!("CARGO_PKG_VERSION"),
        started.data.display()
    );
    let addresses = started.addresses;
    if let Some(at) = addresses.api_url() {
        say!("  page, HTTP, gRPC   {at}   (API: {at}/api/docs)");
    }
    if let Some(at) = addresses.websocket_url() {
        say!("  clients            {at}");
    }
    if let Some(at) = addresses.peer_endpoint() {
        say!("  other processes    {at}");
    }
    if let Some(at) = addresses.ops {
        say!("  health, metrics    http://{at}/readyz, /metrics");
    }
    if started.links.is_empty() {
        say!(
            "A listener is reachable from other machines: there are no development links (--dev makes them)."
        );
        say!(
            "Make a token:  flare token --user alice --data {}",
            started.data.display()
        );
    } else {
        say!("Sign in as one of the demo users, each in a tab of his own:");
        for link in started.links {
            say!("  {:<6} {}", link.user, link.url);
        }
    }
    say!("Stop with Ctrl-C.");
}
