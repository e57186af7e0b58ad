//! How a service reaches another: the in-process routes where that role runs here, else a balanced channel. The caller never knows which.

mod balanced;
mod connection;
mod peer;
mod returnable;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::{
    Status,
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tower::Service;
use tracing::Span;

use self::balanced::Balanced;
use crate::{
    identity::peer::PeerSecret, registry::Registry, shutdown::Shutdown, telemetry, tls::PeerTls,
};

/// A connection attempt to another process gives up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Streams between processes notice a dead peer after about twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Channels to single processes that are kept; the one that was called the longest ago is given up first.
const MAX_SINGLE: usize = 1_024;

/// Gives channels to services. Clones share one state.
#[derive(Clone)]
pub struct Channels {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Arc<dyn Registry>,
    peer_secret: Option<PeerSecret>,
    peer_tls: Option<PeerTls>,
    shutdown: Shutdown,
    local: OnceLock<Local>,
    remote: Mutex<Remote>,
}

/// Channels to other processes, made with one generation of our certificate.
#[derive(Default)]
struct Remote {
    balanced: HashMap<String, Arc<Balanced>>,
    single: HashMap<String, Single>,
    generation: u64,
}

struct Single {
    channel: Channel,
    called: Instant,
}

struct Local {
    routes: Routes,
    services: Vec<&'static str>,
    /// Where this process's inner listener answers, if it has one.
    endpoint: Option<String>,
}

/// A channel to a service, for tonic's generated clients.
#[derive(Clone)]
pub struct ServiceChannel {
    shared: Arc<Shared>,
    target: Target,
}

#[derive(Clone)]
enum Target {
    Service(Arc<str>),
    Endpoint(Arc<str>),
}

impl Channels {
    /// Channels to the services that `registry` knows. Requests to other processes bear `peer_secret` and go by `peer_tls`, if given.
    pub fn new(
        registry: Arc<dyn Registry>,
        peer_secret: Option<PeerSecret>,
        peer_tls: Option<PeerTls>,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                registry,
                peer_secret,
                peer_tls,
                shutdown,
                local: OnceLock::new(),
                remote: Mutex::default(),
            }),
        }
    }

    /// Says, once every service is built, which services run in this process, what serves them, and where the inner listener answers.
    /// Calls before it are refused UNAVAILABLE. A second call changes nothing.
    pub fn serve_local(
        &self,
        routes: Routes,
        services: Vec<&'static str>,
        endpoint: Option<String>,
    ) {
        if self
            .shared
            .local
            .set(Local {
                routes: routes.prepare(),
                services,
                endpoint,
            })
            .is_err()
        {
            tracing::warn!("local routes were set twice; the first stand");
        }
    }

    /// A channel to any process that runs `service`, this one first.
    pub fn get(&self, service: &str) -> ServiceChannel {
        ServiceChannel {
            shared: Arc::clone(&self.shared),
            target: Target::Service(service.into()),
        }
    }

    /// Where this process answers as `service`, as it tells others; empty: in process only. None: it does not run it, or is still starting.
    pub fn local_endpoint(&self, service: &str) -> Option<String> {
        let local = self.shared.local.get()?;
        let runs_here = local.services.contains(&service);
        runs_here.then(|| local.endpoint.clone().unwrap_or_default())
    }

    /// Where the registry says that `service` answers, kept current.
    pub fn named_endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        self.shared.registry.endpoints(service)
    }

    /// A channel to the one process whose inner listener answers at `endpoint`; empty: this process.
    pub fn endpoint(&self, endpoint: &str) -> ServiceChannel {
        ServiceChannel {
            shared: Arc::clone(&self.shared),
            target: Target::Endpoint(endpoint.into()),
        }
    }
}

impl Shared {
    /// Channels by target. Those that were made with an earlier certificate are given up: calls that they have begun go on.
    fn remote(&self) -> MutexGuard<'_, Remote> {
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = &self.peer_tls {
            tls.refresh();
            let generation = tls.generation();
            if remote.generation != generation {
                *remote = Remote {
                    generation,
                    ..Remote::default()
                };
            }
        }
        remote
    }

    fn route(self: &Arc<Self>, target: &Target) -> Result<Route, Status> {
        let Some(local) = self.local.get() else {
            return Err(Status::unavailable("this process is still starting"));
        };
        match target {
            Target::Service(name) if local.services.iter().any(|it| **it == **name) => {
                Ok(Route::Local(local.routes.clone()))
            }
            Target::Endpoint(at) if at.is_empty() || local.endpoint.as_deref() == Some(at) => {
                Ok(Route::Local(local.routes.clone()))
            }
            Target::Service(name) => Ok(Route::Balanced(self.balanced(name))),
            Target::Endpoint(at) => self.single(at).map(Route::Single),
        }
    }

    /// The processes of a service, which follow the registry.
    fn balanced(&self, service: &str) -> Arc<Balanced> {
        let mut remote = self.remote();
        if let Some(balanced) = remote.balanced.get(service) {
            return Arc::clone(balanced);
        }
        let tls = self.peer_tls.clone();
        let balanced = Arc::new(Balanced::new(
            service,
            self.registry.endpoints(service),
            Box::new(move |uri| configured(uri, tls.as_ref())),
            CONNECT_TIMEOUT,
            self.shutdown.clone(),
        ));
        remote
            .balanced
            .insert(service.to_owned(), Arc::clone(&balanced));
        balanced
    }

    fn single(&self, at: &str) -> Result<Channel, Status> {
        let mut remote = self.remote();
        let called = Instant::now();
        if let Some(single) = remote.single.get_mut(at) {
            single.called = called;
            return Ok(single.channel.clone());
        }
        let channel = configured(at, self.peer_tls.as_ref())?.connect_lazy();
        if remote.single.len() >= MAX_SINGLE {
            let oldest = remote.single.iter().min_by_key(|(_, it)| it.called);
            if let Some(oldest) = oldest.map(|(at, _)| at.clone()) {
                remote.single.remove(&oldest);
            }
        }
        let single = Single {
            channel: channel.clone(),
            called,
        };
        remote.single.insert(at.to_owned(), single);
        Ok(channel)
    }
}

fn configured(uri: &str, tls: Option<&PeerTls>) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(|error| Status::unavailable(format!("endpoint {uri:?} is no URI: {error}")))?;
    let endpoint = match tls {
        Some(tls) => tls.secured(endpoint).map_err(|error| {
            Status::unavailable(format!("endpoint {uri:?} cannot be secured: {error}"))
        })?,
        None => endpoint,
    };
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 22))
}

enum Route {
    Local(Routes),
    Balanced(Arc<Balanced>),
    Single(Channel),
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<http::Request<Body>> for ServiceChannel {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each call readies the route that it takes.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let route = self.shared.route(&self.target);
        let mut span = Span::none();
        match (&route, &self.shared.peer_secret) {
            (Ok(Route::Local(_)), _) => span = telemetry::served_here(&request),
            (Ok(Route::Balanced(_) | Route::Single(_)), secret) => {
                telemetry::attach(&mut request);
                if let Some(secret) = secret {
                    secret.attach(&mut request);
                }
            }
            (Err(_), _) => {}
        }
        Box::pin(async move {
            match route {
                Ok(Route::Local(mut routes)) => {
                    std::future::poll_fn(|context| {
                        <Routes as Service<http::Request<Body>>>::poll_ready(&mut routes, context)
                    })
                    .await?;
                    Ok(telemetry::within(span, routes.call(request)).await?)
                }
                Ok(Route::Balanced(balanced)) => balanced.call(request).await,
                Ok(Route::Single(mut channel)) => {
                    std::future::poll_fn(|context| channel.poll_ready(context)).await?;
                    Ok(channel.call(request).await?)
                }
                Err(status) => Err(status.into()),
            }
        })
    }
}
