//! The adapters that the service stands on: of a process that is alone, or of several.

use std::sync::Arc;

use flare_server_core::{
    clock::{Clock, IdSource},
    owners::Owners,
    platform::Platform,
    registry::service,
    service::ServiceError,
    shutdown::Shutdown,
};
use futures::future::BoxFuture;

use crate::{
    application::ports::{
        ConversationStore, InboxStore, MessageOrchestrator, PositionStore, RosterStore, SignalSink,
        StorageReader, StreamCount, StreamProgress,
    },
    config::SessionConfig,
    handler::events::{GROUP, TOPIC},
    infrastructure::{
        bus_following::BusFollowing, bus_stream_progress::BusStreamProgress,
        cached_rosters::CachedRosters, grpc_orchestrator::GrpcOrchestrator,
        grpc_signal_sink::GrpcSignalSink, grpc_storage_reader::GrpcStorageReader,
        sqlite::SqliteSession,
    },
};
#[cfg(feature = "cluster")]
use {
    crate::infrastructure::{
        postgres::PostgresSession, postgres_kept_rosters::PostgresKeptRosters,
    },
    flare_server_core::postgres::PostgresConfig,
};

/// The adapters that the use cases stand on.
pub struct Adapters {
    /// Groups and the outbox.
    pub conversations: Arc<dyn ConversationStore>,
    /// Rosters.
    pub rosters: Arc<dyn RosterStore>,
    /// Users' rows.
    pub inboxes: Arc<dyn InboxStore>,
    /// Positions.
    pub positions: Arc<dyn PositionStore>,
    /// Who else has these rows.
    pub processes: Processes,
    /// The way into the log.
    pub orchestrator: Arc<dyn MessageOrchestrator>,
    /// Committed events.
    pub reader: Arc<dyn StorageReader>,
    /// How far the stream is taken in.
    pub progress: Arc<dyn StreamProgress>,
    /// The way to devices.
    pub signals: Arc<dyn SignalSink>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// ULIDs.
    pub ids: Arc<IdSource>,
    /// When to end.
    pub shutdown: Shutdown,
}

/// Who serves a set of rows.
pub enum Processes {
    /// This one alone. It takes all of the stream in, and counts the moves of heads.
    One(Arc<dyn StreamCount>),
    /// Several: each follows all of the stream for its heads, and its part of it is what it writes rows of.
    Several {
        /// Tells the stream from any other.
        epoch: u64,
    },
}

/// The adapters, opened.
pub struct Opened {
    /// What the use cases stand on.
    pub adapters: Adapters,
    /// Gives the heads the stream, where the rows' consumer is given a part only.
    pub following: Option<Arc<BusFollowing>>,
    /// Closes what was opened, after the last request.
    pub close: BoxFuture<'static, ()>,
}

/// Rows in the data folder, for this process alone.
pub async fn adapters_of_embedded(
    config: &SessionConfig,
    platform: &Platform,
) -> Result<Opened, ServiceError> {
    let store = SqliteSession::open(platform.data_root(), config.database_readers).await?;
    let store = Arc::new(store);
    let bus = platform.event_bus().await?;
    let rows = Rows {
        conversations: Arc::clone(&store) as _,
        rosters: Arc::new(CachedRosters::new(
            Arc::clone(&store) as _,
            config.cached_members,
        )),
        inboxes: Arc::clone(&store) as _,
        positions: Arc::clone(&store) as _,
        processes: Processes::One(Arc::clone(&store) as _),
        progress: Arc::new(BusStreamProgress::new(&bus, TOPIC, GROUP)),
    };
    Ok(Opened {
        adapters: rows.and_services(config, platform).await?,
        following: None,
        close: Box::pin(async move { store.close().await }),
    })
}

/// Rows in PostgreSQL, which other processes have as well.
#[cfg(feature = "cluster")]
pub async fn adapters_of_cluster(
    config: &SessionConfig,
    platform: &Platform,
    postgres: &PostgresConfig,
) -> Result<Opened, ServiceError> {
    let store = Arc::new(PostgresSession::open(postgres).await?);
    let bus = platform.event_bus().await?;
    let following = Arc::new(BusFollowing::new(&bus, TOPIC, GROUP));
    // Fits PostgreSQL's integers.
    let epoch = store.stream_epoch(platform.ids.random_u64() >> 1).await?;
    let rows = Rows {
        conversations: Arc::clone(&store) as _,
        rosters: Arc::new(PostgresKeptRosters::new(
            Arc::clone(&store),
            config.cached_members,
        )),
        inboxes: Arc::clone(&store) as _,
        positions: Arc::clone(&store) as _,
        processes: Processes::Several { epoch },
        progress: Arc::clone(&following) as _,
    };
    Ok(Opened {
        adapters: rows.and_services(config, platform).await?,
        following: Some(following),
        close: Box::pin(async move { store.close().await }),
    })
}

/// What differs between a process that is alone and several.
struct Rows {
    conversations: Arc<dyn ConversationStore>,
    rosters: Arc<dyn RosterStore>,
    inboxes: Arc<dyn InboxStore>,
    positions: Arc<dyn PositionStore>,
    processes: Processes,
    progress: Arc<dyn StreamProgress>,
}

impl Rows {
    async fn and_services(
        self,
        config: &SessionConfig,
        platform: &Platform,
    ) -> Result<Adapters, ServiceError> {
        Ok(Adapters {
            conversations: self.conversations,
            rosters: self.rosters,
            inboxes: self.inboxes,
            positions: self.positions,
            processes: self.processes,
            orchestrator: Arc::new(GrpcOrchestrator::new(
                &platform.channels,
                Owners::of(platform).await?,
                config.submit_timeout(),
            )),
            reader: Arc::new(GrpcStorageReader::new(
                platform.channels.get(service::STORAGE_READER),
            )),
            progress: self.progress,
            signals: Arc::new(GrpcSignalSink::new(
                platform.channels.get(service::PUSH_SERVER),
            )),
            clock: Arc::clone(&platform.clock),
            ids: Arc::clone(&platform.ids),
            shutdown: platform.shutdown.clone(),
        })
    }
}
