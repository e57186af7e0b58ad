//! One process: listeners, platform, services, and its life from the first task to the last.

use std::{
    collections::HashMap, future::Future, net::SocketAddr, path::PathBuf, pin::pin, sync::Arc,
    time::Duration,
};

use flare_core_gateway::ClientLink;
use flare_server_core::{
    identity::peer::PeerSecret,
    platform::Platform,
    service::{Parts, ServiceError, Task},
    telemetry::Telemetry,
    tls::{Certificate, PeerTls},
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::service::Routes;

use crate::{
    config::Config,
    listeners::{self, ListenError},
    plugins::Plugins,
    role::Role,
    services,
};

/// A step of the start that takes longer says what it waits for, and again after as long.
const EXPLAINED_EVERY: Duration = Duration::from_secs(3);

/// The names under which listeners are bound and reported.
pub mod listener {
    /// WebSocket connections of clients.
    pub const ACCESS_GATEWAY: &str = "flare-access-gateway";
    /// HTTP and gRPC of business backends, and the page.
    pub const CORE_GATEWAY: &str = "flare-core-gateway";
    /// gRPC between processes.
    pub const PEER: &str = "peer";
    /// Health and metrics.
    pub const OPS: &str = "ops";
}

/// Why a process did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A service could not be built.
    #[error("{service} could not start: {source}")]
    Build {
        /// The service.
        service: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// A part of the platform could not be made.
    #[error("{what}: {source}")]
    Platform {
        /// Which.
        what: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// A task ended the process.
    #[error("{task} failed: {source}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// What the process holds in memory can no longer be trusted.
    #[error("{0}")]
    Fatal(String),
    /// The drain took longer than its deadline.
    #[error("drain was not done after {after:?}: {} still ran", tasks.join(", "))]
    DrainTimeout {
        /// The deadline.
        after: Duration,
        /// What had not ended.
        tasks: Vec<&'static str>,
    },
    /// A second signal came during the drain.
    #[error("killed by a second signal during the drain")]
    Killed,
}

/// Where a started process answers.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Addresses {
    /// WebSocket connections of clients.
    pub access_gateway: Option<SocketAddr>,
    /// HTTP, gRPC and the page.
    pub core_gateway: Option<SocketAddr>,
    /// gRPC between processes.
    pub peer: Option<SocketAddr>,
    /// Health and metrics.
    pub ops: Option<SocketAddr>,
    /// Whether clients and business backends are encrypted: wss and https.
    pub tls: bool,
    /// Whether gRPC between processes is.
    pub peer_tls: bool,
}

impl Addresses {
    /// Whether anybody on another machine reaches the process.
    pub fn are_reachable_from_outside(&self) -> bool {
        let all = [self.access_gateway, self.core_gateway, self.peer, self.ops];
        all.into_iter()
            .flatten()
            .any(|address| !address.ip().is_loopback())
    }

    /// As other processes reach this one.
    pub(crate) fn peer_endpoint(&self) -> Option<String> {
        let scheme = if self.peer_tls { "https" } else { "http" };
        self.peer.map(|it| format!("{scheme}://{it}"))
    }

    /// Where browsers and business backends reach this process.
    pub(crate) fn api_url(&self) -> Option<String> {
        let scheme = if self.tls { "https" } else { "http" };
        self.core_gateway.map(|it| format!("{scheme}://{it}"))
    }

    /// Where clients connect.
    pub(crate) fn websocket_url(&self) -> Option<String> {
        let scheme = if self.tls { "wss" } else { "ws" };
        self.access_gateway.map(|it| format!("{scheme}://{it}/ws"))
    }
}

/// A process that is ready and serves.
pub struct Process {
    platform: Platform,
    addresses: Addresses,
    work: Work,
    drain: Duration,
}

/// The tasks that run.
#[derive(Default)]
struct Work {
    set: JoinSet<(&'static str, Result<(), ServiceError>)>,
    /// Their names, to say which of them did not end.
    running: Vec<&'static str>,
}

impl Work {
    fn spawn(&mut self, task: Task) {
        self.running.push(task.name);
        self.set.spawn(async move { (task.name, task.run.await) });
    }

    /// The next task that ends; None: there is none. Cancel safe.
    async fn next(&mut self) -> Option<Result<(), RunError>> {
        Some(match self.set.join_next().await? {
            Ok((task, ended)) => {
                if let Some(index) = self.running.iter().position(|it| *it == task) {
                    self.running.swap_remove(index);
                }
                ended.map_err(|source| RunError::Task { task, source })
            }
            Err(error) => Err(RunError::Fatal(format!("a task ended: {error}"))),
        })
    }

    /// Resolves when a task fails or panics. Tasks that end well are forgotten.
    async fn failed(&mut self) -> RunError {
        loop {
            match self.next().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => std::future::pending().await,
            }
        }
    }
}

/// What a process is given beside its configuration.
pub struct Ground {
    /// The folder of the embedded adapters; it is there.
    pub data: PathBuf,
    /// Logs, metrics and traces, begun.
    pub telemetry: Telemetry,
    /// Whether anybody who reaches the page may sign in by a development link.
    pub development_sign_in: DevelopmentSignIn,
}

/// When anybody who reaches the page may sign in by a development link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevelopmentSignIn {
    /// Never.
    Off,
    /// While every listener is loopback.
    OnLoopback,
    /// Always: asked for by `--dev`.
    On,
}

impl DevelopmentSignIn {
    /// Whether it exists in a process that listens on these addresses.
    pub fn exists(self, addresses: &Addresses) -> bool {
        match self {
            Self::Off => false,
            Self::OnLoopback => !addresses.are_reachable_from_outside(),
            Self::On => true,
        }
    }
}

/// Binds, builds and starts `roles`; returns when every part is ready and the listeners answer.
pub async fn start(
    config: &Config,
    ground: &Ground,
    roles: &[Role],
    plugins: Plugins,
) -> Result<Process, RunError> {
    let refused =
        |what: &'static str| move |source: ServiceError| RunError::Platform { what, source };
    let certificate = certificate(config, roles).map_err(refused("tls"))?;
    let peer_tls = peer_tls(config).map_err(refused("peer.tls"))?;
    let secret = peer_secret(config).map_err(refused("peer.secret"))?;
    let mut bound = bind(config, roles)?;
    let addresses = Addresses {
        access_gateway: address(&bound, listener::ACCESS_GATEWAY),
        core_gateway: address(&bound, listener::CORE_GATEWAY),
        peer: address(&bound, listener::PEER),
        ops: address(&bound, listener::OPS),
        tls: certificate.is_some(),
        peer_tls: peer_tls.is_some(),
    };
    let peer = bound.remove(listener::PEER);
    let ops = bound.remove(listener::OPS);
    let peers = (secret.clone(), peer_tls.clone());
    let platform = services::platform(config, ground, bound, peers, &addresses);
    let link = ClientLink {
        access_gateway: addresses.access_gateway,
        encrypted: addresses.tls,
        development_sign_in: ground.development_sign_in.exists(&addresses),
    };
    let composer = services::Composer::new(config, &platform, plugins, link, certificate)
        .map_err(refused("identity"))?;

    let mut work = Work::default();
    let mut edges = Vec::new();
    let mut routes = Vec::new();
    let mut names = Vec::new();
    let mut tasks = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| roles.contains(role)) {
        let Parts {
            routes: its_routes,
            services,
            tasks: its_tasks,
            edges: its_edges,
        } = explained(composer.build(role), || role.service().to_owned())
            .await
            .map_err(|source| RunError::Build {
                service: role.service(),
                source,
            })?;
        routes.extend(its_routes);
        names.extend(services);
        tasks.extend(its_tasks);
        edges.extend(its_edges);
    }
    let routes = merge(routes);
    platform
        .channels
        .serve_local(routes.clone(), names, addresses.peer_endpoint());
    tasks.extend(
        ops.into_iter()
            .flat_map(|listener| services::ops(&platform, &ground.telemetry, listener)),
    );
    for task in tasks {
        work.spawn(task);
    }

    ready(&platform, &mut work).await?;
    // Other processes are answered once this one is ready; they retry until then.
    if let (Some(listener), Some(secret)) = (peer, secret) {
        edges.push(services::peer(
            &platform, listener, routes, &secret, peer_tls,
        ));
    }
    for edge in edges {
        work.spawn(edge);
    }
    Ok(Process {
        platform,
        addresses,
        work,
        drain: Duration::from_millis(config.process.drain_ms),
    })
}

fn bind(config: &Config, roles: &[Role]) -> Result<HashMap<String, TcpListener>, ListenError> {
    let mut wanted = vec![(listener::OPS, config.process.ops_listen.as_str())];
    if roles.contains(&Role::AccessGateway) {
        wanted.push((
            listener::ACCESS_GATEWAY,
            config.access_gateway.listen.as_str(),
        ));
    }
    if roles.contains(&Role::CoreGateway) {
        wanted.push((listener::CORE_GATEWAY, config.core_gateway.listen.as_str()));
    }
    if !config.peer.listen.is_empty() {
        wanted.push((listener::PEER, config.peer.listen.as_str()));
    }
    wanted
        .into_iter()
        .filter(|(_, address)| !address.is_empty())
        .map(|(name, address)| Ok((name.to_owned(), listeners::bind(name, address)?)))
        .collect()
}

fn address(bound: &HashMap<String, TcpListener>, name: &str) -> Option<SocketAddr> {
    bound
        .get(name)
        .and_then(|listener| listener.local_addr().ok())
}

fn merge(routes: Vec<Routes>) -> Routes {
    routes
        .into_iter()
        .map(Routes::into_axum_router)
        .reduce(|all, more| all.merge(more.reset_fallback()))
        .map(Routes::from)
        .unwrap_or_default()
}

/// Waits until every part is ready, or for whatever prevents it.
async fn ready(platform: &Platform, work: &mut Work) -> Result<(), RunError> {
    let waits_for = || {
        let parts = platform.readiness.report().into_iter();
        let missing = parts.filter_map(|(part, is_ready)| (!is_ready).then_some(part));
        missing.collect::<Vec<_>>().join(", ")
    };
    tokio::select! {
        ready = explained(platform.readiness.all_ready(), waits_for) => {
            ready.map_err(|part| RunError::Fatal(format!("{part} ended before it was ready")))
        }
        ended = work.failed() => Err(ended),
        reason = platform.shutdown.failed() => Err(RunError::Fatal(reason)),
    }
}

/// Does a step of the start. While it takes long, says now and then what it waits for.
async fn explained<T>(step: impl Future<Output = T>, waits_for: impl Fn() -> String) -> T {
    let mut step = pin!(step);
    loop {
        match tokio::time::timeout(EXPLAINED_EVERY, &mut step).await {
            Ok(done) => return done,
            Err(_) => tracing::info!(waits_for = waits_for(), "still starting"),
        }
    }
}

impl Process {
    /// Where it answers.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its platform, for what runs beside the services.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Serves until `first` resolves, then drains; `second` during the drain kills.
    pub async fn serve(
        mut self,
        first: impl Future<Output = ()>,
        second: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        tokio::select! {
            () = first => {}
            () = self.platform.shutdown.draining() => {}
            ended = self.work.failed() => return Err(ended),
            reason = self.platform.shutdown.failed() => return Err(RunError::Fatal(reason)),
        }
        tracing::info!(deadline = ?self.drain, "draining");
        self.platform.shutdown.drain();
        let (work, platform) = (&mut self.work, &self.platform);
        let drained = async {
            while let Some(ended) = work.next().await {
                ended?;
            }
            for Task { name, run } in platform.endings() {
                run.await
                    .map_err(|source| RunError::Task { task: name, source })?;
            }
            Ok(())
        };
        let ended = tokio::select! {
            done = tokio::time::timeout(self.drain, drained) => done.ok(),
            () = second => Some(Err(RunError::Killed)),
            reason = self.platform.shutdown.failed() => Some(Err(RunError::Fatal(reason))),
        };
        ended.unwrap_or_else(|| {
            Err(RunError::DrainTimeout {
                after: self.drain,
                tasks: std::mem::take(&mut self.work.running),
            })
        })
    }
}

/// The secret that processes share, if there are others.
fn peer_secret(config: &Config) -> Result<Option<PeerSecret>, ServiceError> {
    match config.peer.secret.expose() {
        "" => Ok(None),
        secret => Ok(Some(PeerSecret::new(secret)?)),
    }
}

/// What clients and business backends are shown, if a role of theirs runs here.
fn certificate(config: &Config, roles: &[Role]) -> Result<Option<Arc<Certificate>>, ServiceError> {
    let has_edge = roles.contains(&Role::AccessGateway) || roles.contains(&Role::CoreGateway);
    if has_edge {
        Ok(config.tls.open()?)
    } else {
        Ok(None)
    }
}

fn peer_tls(config: &Config) -> Result<Option<PeerTls>, ServiceError> {
    Ok(PeerTls::open(&config.peer.tls)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_without_proof_is_for_loopback_unless_it_is_asked_for() {
        let loopback = Addresses {
            core_gateway: "127.0.0.1:1".parse().ok(),
            ..Addresses::default()
        };
        let outside = Addresses {
            access_gateway: "0.0.0.0:1".parse().ok(),
            ..loopback.clone()
        };
        assert!(DevelopmentSignIn::OnLoopback.exists(&loopback));
        assert!(!DevelopmentSignIn::OnLoopback.exists(&outside));
        assert!(DevelopmentSignIn::On.exists(&outside));
        assert!(!DevelopmentSignIn::Off.exists(&loopback));
    }
}
