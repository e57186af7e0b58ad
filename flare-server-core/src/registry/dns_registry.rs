use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;

use super::Registry;

/// An answer that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(5);

/// Turns a name into addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host:port`.
    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The machine's own resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(host).await?.collect())
    }
}

/// Endpoints by names that stand for many addresses, such as headless services of Kubernetes. A name is asked for every few seconds while
/// somebody watches its service. One that does not resolve keeps the addresses that it had: whoever is gone is not connected to.
pub struct DnsRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    /// Service → URI whose host is a name, such as `http://flare-session.flare.svc:50055`.
    names: BTreeMap<String, String>,
    every: Duration,
    resolver: Box<dyn Resolve>,
    watched: Mutex<HashMap<String, watch::Sender<Vec<String>>>>,
    nowhere: watch::Sender<Vec<String>>,
}

impl DnsRegistry {
    /// Takes services with a URI each, whose host is a name.
    pub fn new(names: BTreeMap<String, String>, every: Duration, resolver: impl Resolve) -> Self {
        Self {
            shared: Arc::new(Shared {
                names,
                every,
                resolver: Box::new(resolver),
                watched: Mutex::default(),
                nowhere: watch::Sender::default(),
            }),
        }
    }
}

impl Registry for DnsRegistry {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        let Some(uri) = self.shared.names.get(service) else {
            return self.shared.nowhere.subscribe();
        };
        let mut watched = self
            .shared
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let endpoints = watched.entry(service.to_owned()).or_default();
        let is_watched = !endpoints.is_closed();
        let receiver = endpoints.subscribe();
        if !is_watched {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(follow(shared, uri.clone(), endpoints.clone()));
        }
        receiver
    }
}

async fn follow(shared: Arc<Shared>, uri: String, endpoints: watch::Sender<Vec<String>>) {
    let asking = async {
        loop {
            match tokio::time::timeout(DEADLINE, resolved(&*shared.resolver, &uri)).await {
                Ok(Ok(found)) if !found.is_empty() => {
                    endpoints.send_if_modified(|known| {
                        let has_changed = *known != found;
                        *known = found;
                        has_changed
                    });
                }
                Ok(Ok(_)) => tracing::warn!(%uri, "the name has no address; those it had are kept"),
                Ok(Err(error)) => {
                    tracing::warn!(%uri, %error, "the name does not resolve; the addresses it had are kept");
                }
                Err(_) => {
                    tracing::warn!(%uri, "no answer to a name; the addresses it had are kept")
                }
            }
            tokio::time::sleep(shared.every).await;
        }
    };
    tokio::select! {
        () = endpoints.closed() => {}
        () = asking => {}
    }
}

async fn resolved(resolver: &dyn Resolve, uri: &str) -> io::Result<Vec<String>> {
    let (scheme, host) = uri.split_once("://").unwrap_or(("http", uri));
    let host = host.trim_end_matches('/');
    let addresses: BTreeSet<SocketAddr> = resolver.resolve(host).await?.into_iter().collect();
    let endpoint = |address: SocketAddr| format!("{scheme}://{address}");
    Ok(addresses.into_iter().map(endpoint).collect())
}
