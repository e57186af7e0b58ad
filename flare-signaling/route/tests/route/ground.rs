//! Instances, and who talks to them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use flare_proto::signaling::{
    router_service_client::RouterServiceClient, router_service_server::RouterServiceServer,
};
use flare_server_core::{
    channels::Channels,
    owners::{Announcing, Owners, Ownerships},
    registry::{Registry, service},
    shutdown::Shutdown,
};
use flare_signaling_route::{
    RouteConfig, application::directories::Directories, handler::grpc::Grpc,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    service::Routes,
    transport::{Channel, Server},
};

/// How long an instance remembers what broke off.
pub(crate) const GRACE_MS: u64 = 400;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Something that lives on a runtime of its own, and dies with it.
pub(crate) struct Living {
    runtime: Option<Runtime>,
}

impl Living {
    fn new() -> Self {
        Self {
            runtime: Some(runtime()),
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("alive")
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Its sockets close as those of a process that is killed.
            runtime.shutdown_background();
        }
    }
}

/// Binds, once whoever died there has let go of the address.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut poll = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        loop {
            poll.tick().await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return listener;
            }
        }
    };
    let bound = tokio::time::timeout(Duration::from_secs(10), wait).await;
    bound.expect("binds in time")
}

/// An instance of the service.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    _living: Living,
}

impl Instance {
    pub(crate) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        Self::with(address, RouteConfig::default()).await
    }

    pub(crate) async fn with(address: SocketAddr, config: RouteConfig) -> Self {
        let config = RouteConfig {
            grace_ms: GRACE_MS,
            ..config
        };
        let living = Living::new();
        let shutdown = Shutdown::new();
        let ends = shutdown.clone();
        let serving = living.runtime().spawn(async move {
            let listener = bind(address).await;
            let address = listener.local_addr().expect("bound");
            let directories = Directories::new(&config);
            let grpc = Grpc::new(Arc::clone(&directories), ends.clone());
            tokio::spawn(async move { directories.keep_tidy().await });
            let server = Server::builder()
                .add_service(RouterServiceServer::new(grpc))
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
                    ends.draining().await;
                });
            tokio::spawn(server);
            address
        });
        Self {
            address: serving.await.expect("serves"),
            shutdown,
            _living: living,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn client(&self) -> RouterServiceClient<Channel> {
        let channel = Channel::from_shared(self.endpoint()).expect("a URI");
        RouterServiceClient::new(channel.connect().await.expect("connects"))
    }
}

/// Instances as a registry names them.
#[derive(Default)]
pub(crate) struct Named {
    routes: watch::Sender<Vec<String>>,
    nowhere: watch::Sender<Vec<String>>,
}

impl Named {
    pub(crate) fn these(instances: &[&Instance]) -> Arc<Self> {
        let named = Self::default();
        named.name(instances);
        Arc::new(named)
    }

    pub(crate) fn name(&self, instances: &[&Instance]) {
        let endpoints = instances.iter().map(|it| it.endpoint()).collect();
        self.routes.send_replace(endpoints);
    }
}

impl Registry for Named {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        match service {
            service::ROUTE => self.routes.subscribe(),
            _ => self.nowhere.subscribe(),
        }
    }
}

fn channels(registry: Arc<Named>) -> Channels {
    let channels = Channels::new(registry, None, None, Shutdown::new());
    channels.serve_local(Routes::default(), Vec::new(), None);
    channels
}

/// A stand-in for an orchestrator's process: dropped, it is killed.
pub(crate) struct Orchestrator {
    ownerships: Mutex<Option<Ownerships>>,
    _living: Living,
}

impl Orchestrator {
    /// One that answers at `endpoint`, and owns nothing yet of a log of `partitions`.
    pub(crate) fn start(registry: &Arc<Named>, endpoint: &str, partitions: u32) -> Self {
        let living = Living::new();
        let guard = living.runtime().enter();
        let channels = channels(Arc::clone(registry));
        drop(guard);
        let incarnation = endpoint.trim_start_matches("http://").to_owned();
        let (ownerships, announcing) = Announcing::new(channels, incarnation, endpoint, partitions);
        living.runtime().spawn(announcing.run());
        Self {
            ownerships: Mutex::new(Some(ownerships)),
            _living: living,
        }
    }

    pub(crate) fn owns(&self, partition: u32, epoch: u64) {
        let ownerships = self.ownerships.lock().expect("locks");
        ownerships.as_ref().expect("alive").begin(partition, epoch);
    }

    pub(crate) fn loses(&self, partition: u32) {
        let ownerships = self.ownerships.lock().expect("locks");
        ownerships.as_ref().expect("alive").end(partition);
    }

    /// It ends as a process that drains.
    pub(crate) fn says_farewell(&self) {
        self.ownerships.lock().expect("locks").take();
    }
}

/// A gateway's view of the owners.
pub(crate) fn watcher(registry: &Arc<Named>) -> Owners {
    Owners::follow(channels(Arc::clone(registry)))
}

/// Where the owner of a partition answers, as the watcher knows.
pub(crate) fn owner(owners: &Owners, partition: u32) -> Option<(u64, String)> {
    let directory = owners.current();
    let owner = directory.owner(partition)?;
    Some((owner.epoch, owner.endpoint.to_string()))
}

pub(crate) fn at(epoch: u64, endpoint: &str) -> Option<(u64, String)> {
    Some((epoch, endpoint.to_owned()))
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while !holds().await {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("in time: {what}"));
}
