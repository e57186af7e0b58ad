//! Which processes a deployment has, and what each is told.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use flare_server_core::registry::service;

use super::{Beside, Kind, Part, data};
use crate::{
    authority::Authority,
    process::{Addresses, text},
};

/// Roles of the process that keeps the data.
pub(super) const CORE_ROLES: &str = "storage-writer,storage-reader,signaling-online,signaling-route,message-orchestrator,session,push-server";
/// Roles of the process that clients reach.
pub(super) const EDGE_ROLES: &str = "access-gateway,core-gateway";
/// Services that the edge finds in the core's process.
const CORE_SERVICES: [&str; 6] = [
    service::ONLINE,
    service::ROUTE,
    service::ORCHESTRATOR,
    service::STORAGE_READER,
    service::SESSION,
    service::PUSH_SERVER,
];
/// How often each service runs in a cluster.
const INSTANCES: usize = 2;
const ANY_PORT: &str = "127.0.0.1:0";
pub(super) const PEER_SECRET: &str = "the-integration-tests-share-this-secret";

/// Settings of every process: clients come back soon, and a slow reader is noticed after little.
const SETTINGS: [&str; 2] = [
    "access_gateway.reconnect_spread_ms=200",
    "access_gateway.outbound_bytes=262144",
];

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Of its log.
    pub(super) name: String,
    pub(super) part: Part,
    /// The binary of a service; None: `flare`.
    pub(super) service: Option<&'static str>,
}

impl Plan {
    fn flare(name: &str, part: Part) -> Self {
        Self {
            name: name.to_owned(),
            part,
            service: None,
        }
    }
}

/// The processes of a deployment, in the order in which they begin.
pub(super) fn plans(kind: Kind) -> Vec<Plan> {
    match kind {
        Kind::Embedded => vec![Plan::flare("flare", Part::Core)],
        Kind::Split => vec![
            Plan::flare("core", Part::Core),
            Plan::flare("edge", Part::Edge),
        ],
        Kind::Cluster => {
            let every = service::ALL.iter().map(|it| it.name);
            let instances = every.flat_map(|it| (1..=INSTANCES).map(move |number| (it, number)));
            let planned = instances.map(|(service, number)| Plan {
                name: format!("{service}-{number}"),
                part: match service {
                    service::ACCESS_GATEWAY | service::CORE_GATEWAY => Part::Edge,
                    _ => Part::Core,
                },
                service: Some(service),
            });
            planned.collect()
        }
    }
}

/// What a process is told: to answer `at` the addresses that it had, and to find the `core`.
pub(super) fn arguments(
    plan: &Plan,
    kind: Kind,
    folder: &Path,
    beside: &Beside,
    at: &Addresses,
    core: Option<&Addresses>,
) -> anyhow::Result<Vec<String>> {
    let words: &[&str] = match (kind, plan.part) {
        (Kind::Embedded, _) => &["up"],
        (Kind::Split, Part::Core) => &["run", "--role", CORE_ROLES],
        (Kind::Split, Part::Edge) => &["run", "--role", EDGE_ROLES],
        (Kind::Cluster, _) => &[],
    };
    let mut arguments: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
    let data = text(&data(kind, folder, plan.part))?;
    arguments.extend(["--json".to_owned(), "--data".to_owned(), data]);
    let settings = settings(plan, kind, folder, beside, at, core)?;
    arguments.extend(settings.into_iter().flat_map(|it| ["--set".to_owned(), it]));
    Ok(arguments)
}

fn settings(
    plan: &Plan,
    kind: Kind,
    folder: &Path,
    beside: &Beside,
    at: &Addresses,
    core: Option<&Addresses>,
) -> anyhow::Result<Vec<String>> {
    let address =
        |it: Option<SocketAddr>| it.map_or_else(|| ANY_PORT.to_owned(), |it| it.to_string());
    let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
    settings.extend_from_slice(&beside.settings);
    settings.push(format!("process.ops_listen={}", address(at.ops)));
    if kind != Kind::Split || plan.part == Part::Edge {
        settings.push(format!(
            "access_gateway.listen={}",
            address(at.access_gateway)
        ));
        settings.push(format!("core_gateway.listen={}", address(at.core_gateway)));
    }
    if kind != Kind::Embedded {
        settings.push(format!("peer.secret={PEER_SECRET}"));
    }
    let is_called = plan.service != Some(service::CORE_GATEWAY);
    if kind != Kind::Embedded && is_called {
        settings.push(format!("peer.listen={}", address(at.peer)));
    }
    match kind {
        Kind::Embedded => {}
        Kind::Split => {
            settings.extend(Authority::of(folder).settings()?);
            let key = text(&data(kind, folder, Part::Core).join("token.key"))?;
            settings.push(format!("identity.local_key_file={key}"));
            if plan.part == Part::Edge {
                let peer = core.and_then(|it| it.peer);
                let peer = peer.context("the core has no peer address")?;
                settings
                    .extend(CORE_SERVICES.map(|service| {
                        format!("registry.services.{service}=[\"https://{peer}\"]")
                    }));
            }
        }
        Kind::Cluster => {
            let servers = beside.servers.as_ref();
            settings.extend(servers.context("a cluster without servers")?.settings());
        }
    }
    Ok(settings)
}
