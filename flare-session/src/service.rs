//! Puts the service together.

use std::sync::Arc;

use flare_proto::session::session_service_server::SessionServiceServer;
use flare_server_core::{
    clock::{Clock, IdSource},
    owners::Owners,
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, ServiceError, Task},
    shutdown::Shutdown,
};
use tonic::service::Routes;

use crate::{
    application::{
        access::Access,
        commands::Commands,
        delivered::Delivered,
        heads::Heads,
        inbox::Inbox,
        outbox::Outbox,
        ports::{
            ConversationStore, InboxStore, MessageOrchestrator, PositionStore, RosterStore,
            SignalSink, StorageReader, StreamProgress,
        },
        positions::Positions,
        queries::Queries,
        reads::Reads,
        settings::SettingsUpdates,
        signals::Signals,
        stream::Stream,
    },
    config::SessionConfig,
    domain::recent_heads::RecentHeads,
    handler::{
        events::{GROUP, PersistedEvents, TOPIC},
        grpc::SessionHandler,
    },
    infrastructure::{
        bus_stream_progress::BusStreamProgress, cached_rosters::CachedRosters,
        grpc_orchestrator::GrpcOrchestrator, grpc_signal_sink::GrpcSignalSink,
        grpc_storage_reader::GrpcStorageReader, sqlite::SqliteSession,
    },
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

/// The use cases, put together.
pub struct Session {
    /// For `SessionService`.
    pub handler: SessionHandler,
    /// For `flare.im.message.persisted`.
    pub stream: Arc<Stream>,
    /// Whose sweeper runs as a task.
    pub outbox: Arc<Outbox>,
    /// Whose writer runs as a task.
    pub positions: Arc<Positions>,
    /// Whose writer runs as another.
    pub delivered: Arc<Delivered>,
    /// Whose sender runs as a task.
    pub signals: Arc<Signals>,
}

impl Session {
    /// Puts the use cases together, and begins to count stream positions.
    pub async fn new(config: &SessionConfig, adapters: Adapters) -> Result<Self, ServiceError> {
        // Fits SQLite's integers.
        let new_epoch = adapters.ids.random_u64() >> 1;
        let start = adapters.inboxes.stream_begins(new_epoch).await?;
        let recent = RecentHeads::new(
            start.epoch,
            start.position,
            config.recent_heads as usize,
            config.kept_message_bytes as usize,
        );
        let heads = Arc::new(Heads::new(recent, Arc::clone(&adapters.reader)));
        let outbox = Arc::new(Outbox::new(
            Arc::clone(&adapters.conversations),
            Arc::clone(&adapters.rosters),
            adapters.orchestrator,
            Arc::clone(&heads),
        ));
        let access = Arc::new(Access::new(
            Arc::clone(&adapters.rosters),
            Arc::clone(&adapters.inboxes),
            Arc::clone(&heads),
            Arc::clone(&outbox),
        ));
        let signals = Arc::new(Signals::new(
            adapters.signals,
            config.max_waiting_signals as usize,
        ));
        let positions = Arc::new(Positions::new(
            Arc::clone(&adapters.positions),
            config.max_waiting_positions as usize,
            config.position_interval(),
            adapters.shutdown.clone(),
        ));
        let delivered = Arc::new(Delivered::new(
            Arc::clone(&adapters.positions),
            Arc::clone(&access),
            Arc::clone(&heads),
            config.max_waiting_positions as usize,
            config.position_interval(),
            adapters.shutdown,
        ));
        let handler = SessionHandler {
            commands: Arc::new(Commands::new(
                adapters.conversations,
                Arc::clone(&access),
                Arc::clone(&outbox),
                adapters.clock,
                adapters.ids,
                config.limits(),
            )),
            queries: Arc::new(Queries {
                access: Arc::clone(&access),
                store: adapters.positions,
                positions: Arc::clone(&positions),
                delivered: Arc::clone(&delivered),
            }),
            inbox: Arc::new(Inbox {
                inboxes: Arc::clone(&adapters.inboxes),
                rosters: Arc::clone(&adapters.rosters),
                heads: Arc::clone(&heads),
                reader: Arc::clone(&adapters.reader),
                positions: Arc::clone(&positions),
                progress: adapters.progress,
                max_page_bytes: config.max_inbox_page_bytes as usize,
            }),
            reads: Arc::new(Reads {
                access: Arc::clone(&access),
                inboxes: Arc::clone(&adapters.inboxes),
                heads: Arc::clone(&heads),
                reader: adapters.reader,
                positions: Arc::clone(&positions),
                signals: Arc::clone(&signals),
            }),
            settings: Arc::new(SettingsUpdates {
                access: Arc::clone(&access),
                inboxes: Arc::clone(&adapters.inboxes),
                heads: Arc::clone(&heads),
                signals: Arc::clone(&signals),
            }),
            delivered: Arc::clone(&delivered),
            access,
        };
        let stream = Arc::new(Stream {
            inboxes: adapters.inboxes,
            rosters: adapters.rosters,
            heads,
            positions: Arc::clone(&positions),
            outbox: Arc::clone(&outbox),
        });
        Ok(Self {
            handler,
            stream,
            outbox,
            positions,
            delivered,
            signals,
        })
    }
}

/// The service, as a process runs it.
pub fn hosted(config: SessionConfig) -> Hosted {
    Hosted::inner(service::SESSION, async move |platform| {
        build(&config, &platform).await
    })
}

/// Builds the service on the platform: `SessionService`, the sweeper of its outbox, and the consumer of the stream.
pub async fn build(config: &SessionConfig, platform: &Platform) -> Result<Parts, ServiceError> {
    let store = SqliteSession::open(platform.data_root(), config.database_readers).await?;
    let store = Arc::new(store);
    let shutdown = platform.shutdown.clone();
    let bus = platform.event_bus().await?;
    let adapters = Adapters {
        conversations: Arc::clone(&store) as _,
        rosters: Arc::new(CachedRosters::new(
            Arc::clone(&store) as _,
            config.cached_members,
        )),
        inboxes: Arc::clone(&store) as _,
        positions: Arc::clone(&store) as _,
        orchestrator: Arc::new(GrpcOrchestrator::new(
            &platform.channels,
            Owners::of(platform).await?,
            config.submit_timeout(),
        )),
        reader: Arc::new(GrpcStorageReader::new(
            platform.channels.get(service::STORAGE_READER),
        )),
        progress: Arc::new(BusStreamProgress::new(&bus, TOPIC, GROUP)),
        signals: Arc::new(GrpcSignalSink::new(
            platform.channels.get(service::PUSH_SERVER),
        )),
        clock: Arc::clone(&platform.clock),
        ids: Arc::clone(&platform.ids),
        shutdown: shutdown.clone(),
    };
    let Session {
        handler,
        stream,
        outbox,
        positions,
        delivered,
        signals,
    } = Session::new(config, adapters).await?;
    let ready = platform.readiness.register("session");
    let ending = Arc::clone(&stream);
    platform.at_end(Task::new("session.database", async move {
        // After the last request: none is answered from a count that goes on behind what is kept of it.
        let ended = ending.end().await;
        store.close().await;
        Ok(ended?)
    }));

    let sweeping = {
        let shutdown = shutdown.clone();
        async move { Ok(outbox.sweep(&shutdown).await?) }
    };
    let signalling = {
        let shutdown = shutdown.clone();
        async move {
            signals.run(&shutdown).await;
            Ok(())
        }
    };
    let writing = async move {
        positions.run().await;
        Ok(())
    };
    let judging = async move {
        delivered.run().await;
        Ok(())
    };
    let persisted = PersistedEvents {
        stream,
        spans: platform.spans.clone(),
    };
    let reading = async move {
        let subscription = bus.subscribe(TOPIC, GROUP, Arc::new(persisted)).await?;
        ready.set(true);
        shutdown.draining().await;
        subscription.shutdown().await;
        Ok(())
    };
    Ok(Parts {
        routes: vec![Routes::new(SessionServiceServer::new(handler))],
        services: vec![service::SESSION],
        tasks: vec![
            Task::new("session.outbox", sweeping),
            Task::new("session.signals", signalling),
            Task::new("session.positions", writing),
            Task::new("session.delivered", judging),
            Task::new("session.stream", reading),
        ],
        edges: Vec::new(),
    })
}
