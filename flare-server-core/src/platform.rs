//! What every service stands on: the ports' adapters, channels to other services, clock and ids, and how the process ends.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{net::TcpListener, sync::OnceCell};

use crate::{
    channels::Channels,
    clock::{Clock, IdSource, SystemClock},
    event_bus::EventBus,
    identity::peer::PeerSecret,
    message_log::MessageLog,
    process::{Addresses, Edge},
    readiness::Readiness,
    registry::Registry,
    servers::Shape,
    service::{ServiceError, Task},
    shutdown::Shutdown,
    telemetry::Spans,
    tls::PeerTls,
};

/// One process's platform. Clones share one state.
#[derive(Clone)]
pub struct Platform {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// ULIDs and random numbers.
    pub ids: Arc<IdSource>,
    /// Channels to the other services.
    pub channels: Channels,
    /// When to end.
    pub shutdown: Shutdown,
    /// What must be so before the process answers.
    pub readiness: Readiness,
    /// Opens spans of sampled traces.
    pub spans: Spans,
    shared: Arc<Shared>,
}

struct Shared {
    data: PathBuf,
    shape: Shape,
    adapters: Box<dyn Adapters>,
    log: OnceCell<Arc<dyn MessageLog>>,
    bus: OnceCell<Arc<dyn EventBus>>,
    once: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    listeners: Mutex<HashMap<String, TcpListener>>,
    endings: Mutex<Vec<Task>>,
    addresses: Addresses,
    endpoint: String,
    edge: Option<Edge>,
    development_sign_in: bool,
}

/// Opens the adapters that the configuration names, each when a role first asks for it.
#[async_trait::async_trait]
pub trait Adapters: Send + Sync + 'static {
    /// Opens the message log.
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError>;
    /// Opens the event bus.
    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError>;
    /// Closes what was opened, after all that used it.
    async fn close(&self) -> Result<(), ServiceError>;
}

/// What a platform is made of.
pub struct PlatformParts {
    /// The folder of the embedded adapters.
    pub data: PathBuf,
    /// What the adapters stand on.
    pub shape: Shape,
    /// What opens the ports' adapters.
    pub adapters: Box<dyn Adapters>,
    /// Where other processes answer.
    pub registry: Arc<dyn Registry>,
    /// Shared with other processes; None: there are none.
    pub peer_secret: Option<PeerSecret>,
    /// How gRPC with other processes is encrypted; None: it is not.
    pub peer_tls: Option<PeerTls>,
    /// Where this process answers.
    pub addresses: Addresses,
    /// What services share that answer clients and business backends; None: there are none here.
    pub edge: Option<Edge>,
    /// Whether anybody who reaches the page may sign in by a development link.
    pub development_sign_in: bool,
    /// When to end: shared with what the adapters do on a fatal error.
    pub shutdown: Shutdown,
    /// Opens spans of sampled traces; the default opens none.
    pub spans: Spans,
    /// Bound already, by name.
    pub listeners: HashMap<String, TcpListener>,
}

impl Platform {
    /// On the machine's clock and the operating system's randomness.
    pub fn new(parts: PlatformParts) -> Self {
        let shutdown = parts.shutdown;
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(IdSource::from_os()),
            channels: Channels::new(
                parts.registry,
                parts.peer_secret,
                parts.peer_tls,
                shutdown.clone(),
            ),
            shutdown,
            readiness: Readiness::default(),
            spans: parts.spans,
            shared: Arc::new(Shared {
                data: parts.data,
                shape: parts.shape,
                adapters: parts.adapters,
                log: OnceCell::new(),
                bus: OnceCell::new(),
                once: Mutex::default(),
                listeners: Mutex::new(parts.listeners),
                endings: Mutex::default(),
                endpoint: parts.addresses.peer_endpoint().unwrap_or_default(),
                addresses: parts.addresses,
                edge: parts.edge,
                development_sign_in: parts.development_sign_in,
            }),
        }
    }

    /// What the adapters of this process stand on.
    pub fn shape(&self) -> &Shape {
        &self.shared.shape
    }

    /// Closes the log and the bus, after all that used them.
    pub async fn close_adapters(&self) -> Result<(), ServiceError> {
        self.shared.adapters.close().await
    }

    /// The folder in which `owner` keeps its embedded files, made if it is not there.
    pub fn data_folder(&self, owner: &str) -> std::io::Result<PathBuf> {
        let folder = self.shared.data.join(owner);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The folder of all embedded files.
    pub fn data_root(&self) -> &Path {
        &self.shared.data
    }

    /// The log flare.im.message, opened on the first call.
    pub async fn message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        self.shared
            .log
            .get_or_try_init(|| self.shared.adapters.open_message_log())
            .await
            .cloned()
    }

    /// The event bus, opened on the first call.
    pub async fn event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        self.shared
            .bus
            .get_or_try_init(|| self.shared.adapters.open_event_bus())
            .await
            .cloned()
    }

    /// One `T` a process, made by the first who asks: for adapters of ports that stand above this crate, such as the message store.
    pub async fn once<T, F>(&self, open: impl FnOnce() -> F) -> Result<T, ServiceError>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, ServiceError>>,
    {
        let cell =
            {
                let mut once = self
                    .shared
                    .once
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                Arc::clone(once.entry(TypeId::of::<T>()).or_insert_with(|| {
                    Arc::new(OnceCell::<T>::new()) as Arc<dyn Any + Send + Sync>
                }))
            };
        let cell = cell
            .downcast::<OnceCell<T>>()
            .map_err(|_| "a cell holds another type than its key says")?;
        cell.get_or_try_init(open).await.cloned()
    }

    /// Takes the listener bound under `name`; None if none was, or it is taken.
    pub fn listener(&self, name: &str) -> Option<TcpListener> {
        self.shared
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }

    /// Work that is done when every service's tasks have ended, such as the closing of a store that several services read.
    pub fn at_end(&self, ending: Task) {
        self.shared
            .endings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ending);
    }

    /// Takes what was given to `at_end`, the latest first.
    pub fn endings(&self) -> Vec<Task> {
        let mut endings = std::mem::take(
            &mut *self
                .shared
                .endings
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        endings.reverse();
        endings
    }

    /// Where this process's inner listener answers, as others reach it; empty: only in process.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// Where this process answers.
    pub fn addresses(&self) -> &Addresses {
        &self.shared.addresses
    }

    /// What services share that answer clients and business backends.
    ///
    /// # Errors
    /// If the process was started without one: no service of it listens for them.
    pub fn edge(&self) -> Result<&Edge, ServiceError> {
        self.shared
            .edge
            .as_ref()
            .ok_or_else(|| "the process has no listener for clients or business backends".into())
    }

    /// Whether anybody who reaches the page may sign in by a development link.
    pub fn development_sign_in(&self) -> bool {
        self.shared.development_sign_in
    }
}
