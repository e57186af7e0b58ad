//! From a configuration to a process that is ready and serves.

use std::{
    collections::HashMap,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::net::TcpListener;
use tonic::service::Routes;

use super::{
    Addresses, Audience, BaseConfig, DevelopmentSignIn, Edge, Hosted, Process, RunError, inner,
    listeners::{self, ListenError},
    register,
    work::Work,
};
use crate::{
    embedded::EmbeddedAdapters,
    identity::peer::PeerSecret,
    platform::{Adapters, Platform, PlatformParts},
    registry::{Health, Registration},
    servers::Shape,
    service::{Parts, ServiceError},
    shutdown::Shutdown,
    telemetry::Telemetry,
    tls::PeerTls,
};

/// A step of the start that takes longer says what it waits for, and again after as long.
const EXPLAINED_EVERY: Duration = Duration::from_secs(3);
/// The listener of gRPC between processes.
const PEER: &str = "peer";
/// The listener of health and metrics.
const OPS: &str = "ops";

/// What a process is given beside its configuration.
pub struct Ground {
    /// The folder of the embedded adapters; it is there.
    pub data: PathBuf,
    /// Logs, metrics and traces, begun.
    pub telemetry: Telemetry,
    /// Whether anybody who reaches the page may sign in by a development link.
    pub development_sign_in: DevelopmentSignIn,
}

/// Binds, builds and starts the services in their order; returns when every part is ready and the listeners answer.
pub async fn start(
    config: &BaseConfig,
    ground: &Ground,
    services: Vec<Hosted>,
) -> Result<Process, RunError> {
    let refused =
        |what: &'static str| move |source: ServiceError| RunError::Platform { what, source };
    let edge = services
        .iter()
        .any(|it| it.listener.is_some())
        .then(|| Edge::open(config, &ground.data))
        .transpose()?;
    let peer_tls =
        PeerTls::open(&config.peer.tls).map_err(|error| refused("peer.tls")(error.into()))?;
    let peer_secret = peer_secret(config).map_err(refused("peer.secret"))?;
    let mut bound = bind(config, &services)?;
    let addresses = addresses(config, &bound, &services, edge.as_ref(), peer_tls.is_some());
    let peer = bound.remove(PEER);
    let ops = bound.remove(OPS);
    let shutdown = Shutdown::new();
    let registry = register::open(config).map_err(refused("registry"))?;
    let shape = config.stands_on();
    let platform = Platform::new(PlatformParts {
        data: ground.data.clone(),
        adapters: adapters(config, &shape, &ground.data, &shutdown).map_err(refused("adapters"))?,
        shape,
        registry: Arc::clone(&registry),
        peer_secret: peer_secret.clone(),
        peer_tls: peer_tls.clone(),
        development_sign_in: ground.development_sign_in.exists(&addresses),
        addresses: addresses.clone(),
        edge,
        shutdown,
        spans: ground.telemetry.spans.clone(),
        listeners: bound,
    });

    let mut work = Work::default();
    let mut edges = Vec::new();
    let mut routes = Vec::new();
    let mut names = Vec::new();
    let mut tasks = Vec::new();
    for Hosted { name, build, .. } in services {
        let Parts {
            routes: its_routes,
            services,
            tasks: its_tasks,
            edges: its_edges,
        } = explained(build(platform.clone()), || name.to_owned())
            .await
            .map_err(|source| RunError::Build {
                service: name,
                source,
            })?;
        routes.extend(its_routes);
        names.extend(services);
        tasks.extend(its_tasks);
        edges.extend(its_edges);
    }
    let routes = merge(routes);
    let registration = match addresses.peer_endpoint() {
        Some(endpoint) => registry.register(&names, &endpoint),
        None => Registration::unheard(),
    };
    platform
        .channels
        .serve_local(routes.clone(), names, addresses.peer_endpoint());
    tasks.extend(
        ops.into_iter()
            .flat_map(|listener| inner::ops(&platform, &ground.telemetry, listener)),
    );
    for task in tasks {
        work.spawn(task);
    }

    ready(&platform, &mut work).await?;
    // Other processes are answered once this one is ready; they retry until then.
    if let (Some(listener), Some(secret)) = (peer, peer_secret) {
        edges.push(inner::peer(&platform, listener, routes, &secret, peer_tls));
    }
    for edge in edges {
        work.spawn(edge);
    }
    if let Err(error) = registration.say(Health::Serving).await {
        tracing::warn!(%error, "serving all the same");
    }
    Ok(Process {
        registration,
        platform,
        addresses,
        work,
        drain: Duration::from_millis(config.process.drain_ms),
    })
}

fn adapters(
    config: &BaseConfig,
    shape: &Shape,
    data: &Path,
    shutdown: &Shutdown,
) -> Result<Box<dyn Adapters>, ServiceError> {
    match shape {
        Shape::Embedded => Ok(Box::new(EmbeddedAdapters::new(
            data.to_owned(),
            &config.log,
            shutdown.clone(),
        ))),
        #[cfg(feature = "cluster")]
        Shape::Cluster(servers) => Ok(Box::new(crate::cluster::ClusterAdapters::new(
            servers.kafka.clone(),
            shutdown.clone(),
        ))),
        #[cfg(not(feature = "cluster"))]
        Shape::Cluster(_) => Err(shape.is_not_built().into()),
    }
}

fn bind(
    config: &BaseConfig,
    services: &[Hosted],
) -> Result<HashMap<String, TcpListener>, ListenError> {
    let own = services
        .iter()
        .filter_map(|it| Some((it.name, it.listener.as_ref()?.0.as_str())));
    [
        (OPS, config.process.ops_listen.as_str()),
        (PEER, config.peer.listen.as_str()),
    ]
    .into_iter()
    .chain(own)
    .filter(|(_, address)| !address.is_empty())
    .map(|(name, address)| Ok((name.to_owned(), listeners::bind(name, address)?)))
    .collect()
}

fn addresses(
    config: &BaseConfig,
    bound: &HashMap<String, TcpListener>,
    services: &[Hosted],
    edge: Option<&Edge>,
    peer_tls: bool,
) -> Addresses {
    let address = |name: &str| bound.get(name).and_then(|it| it.local_addr().ok());
    let of = |audience: Audience| {
        let mut theirs = services.iter().filter(|it| {
            it.listener
                .as_ref()
                .is_some_and(|(_, its)| *its == audience)
        });
        theirs.find_map(|it| address(it.name))
    };
    Addresses {
        access_gateway: of(Audience::Clients),
        core_gateway: of(Audience::Backends),
        peer: address(PEER),
        ops: address(OPS),
        tls: edge.is_some_and(|it| it.certificate.is_some()),
        peer_tls,
        advertise: (!config.peer.advertise.is_empty()).then(|| config.peer.advertise.clone()),
    }
}

/// The secret that processes share, if there are others.
fn peer_secret(config: &BaseConfig) -> Result<Option<PeerSecret>, ServiceError> {
    match config.peer.secret.expose() {
        "" => Ok(None),
        secret => Ok(Some(PeerSecret::new(secret)?)),
    }
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
