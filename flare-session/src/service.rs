//! Puts the service together.

mod adapters;

use std::sync::Arc;

use flare_proto::session::session_service_server::SessionServiceServer;
use flare_server_core::{
    event_bus::Frontier,
    platform::Platform,
    process::Hosted,
    registry::service,
    servers::Shape,
    service::{Parts, ServiceError, Task},
};
use tonic::service::Routes;

#[cfg(feature = "cluster")]
pub use self::adapters::adapters_of_cluster;
pub use self::adapters::{Adapters, Opened, Processes, adapters_of_embedded};
use crate::{
    application::{
        access::Access,
        commands::Commands,
        delivered::Delivered,
        heads::Heads,
        inbox::Inbox,
        outbox::Outbox,
        positions::Positions,
        queries::Queries,
        reads::Reads,
        settings::SettingsUpdates,
        signals::Signals,
        stream::{KnownDirects, Part, Stream},
    },
    config::SessionConfig,
    domain::recent_heads::RecentHeads,
    handler::{
        events::{FollowedEvents, GROUP, PersistedEvents, TOPIC},
        grpc::SessionHandler,
    },
};

/// Places in large conversations that one answer names, unless one user may have more.
const LARGE_MEMBERSHIPS_AT_ONCE: usize = 20_000;

/// The use cases, put together.
pub struct Session {
    /// For `SessionService`.
    pub handler: SessionHandler,
    /// For `flare.im.message.persisted`.
    pub stream: Arc<Stream>,
    /// Which follow the whole of it by themselves, where only a part comes to `stream`.
    pub heads: Arc<Heads>,
    /// Whose sweeper runs as a task.
    pub outbox: Arc<Outbox>,
    /// Whose writer runs as a task.
    pub positions: Arc<Positions>,
    /// Whose writer runs as one, too, where it is another.
    pub marked: Arc<Positions>,
    /// Whose writer runs as another.
    pub delivered: Arc<Delivered>,
    /// Whose sender runs as a task.
    pub signals: Arc<Signals>,
}

impl Session {
    /// Whether other processes may have the same rows.
    pub fn is_shared(&self) -> bool {
        self.marked.is_at_once()
    }

    /// Puts the use cases together, and begins to count the moves of heads, if it is this process that counts them.
    pub async fn new(config: &SessionConfig, adapters: Adapters) -> Result<Self, ServiceError> {
        let (start, look_every, part) = match adapters.processes {
            Processes::One(count) => {
                // Fits SQLite's integers.
                let new_epoch = adapters.ids.random_u64() >> 1;
                let start = count.begins(new_epoch).await?;
                let at = (start.epoch, Frontier::single(start.position));
                (at, None, Part::All(count))
            }
            Processes::Several { epoch } => {
                let known = KnownDirects::new(config.recent_heads.into());
                let at = (epoch, Frontier::default());
                (at, Some(config.submit_timeout()), Part::Shared(known))
            }
        };
        let is_shared = matches!(part, Part::Shared(_));
        let recent = RecentHeads::new(
            start.0,
            start.1,
            config.recent_heads as usize,
            config.kept_message_bytes as usize,
        );
        let heads = Arc::new(Heads::new(recent, Arc::clone(&adapters.reader)));
        let outbox = Arc::new(Outbox::new(
            Arc::clone(&adapters.conversations),
            Arc::clone(&adapters.rosters),
            adapters.orchestrator,
            Arc::clone(&heads),
            look_every,
        ));
        let access = Arc::new(Access::new(
            Arc::clone(&adapters.rosters),
            Arc::clone(&adapters.inboxes),
            Arc::clone(&heads),
            Arc::clone(&outbox),
            // Whatever one user is in fits.
            LARGE_MEMBERSHIPS_AT_ONCE.max(config.max_conversations_per_user as usize),
        ));
        let signals = Arc::new(Signals::new(
            adapters.signals,
            config.max_waiting_signals as usize,
        ));
        let positions = |new: fn(_, _, _, _) -> Positions| {
            let made = new(
                Arc::clone(&adapters.positions),
                config.max_waiting_positions as usize,
                config.position_interval(),
                adapters.shutdown.clone(),
            );
            Arc::new(made)
        };
        let gathered = positions(Positions::new);
        let marked = match is_shared {
            true => positions(Positions::at_once),
            false => Arc::clone(&gathered),
        };
        let delivered = Arc::new(Delivered::new(
            Arc::clone(&adapters.positions),
            Arc::clone(&access),
            Arc::clone(&heads),
            config.max_waiting_positions as usize,
            config.position_interval(),
            !is_shared,
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
                positions: Arc::clone(&marked),
                delivered: Arc::clone(&delivered),
            }),
            inbox: Arc::new(Inbox {
                inboxes: Arc::clone(&adapters.inboxes),
                rosters: Arc::clone(&adapters.rosters),
                heads: Arc::clone(&heads),
                reader: Arc::clone(&adapters.reader),
                positions: Arc::clone(&marked),
                gathered: Arc::clone(&gathered),
                progress: adapters.progress,
                max_page_bytes: config.max_inbox_page_bytes as usize,
            }),
            reads: Arc::new(Reads {
                access: Arc::clone(&access),
                inboxes: Arc::clone(&adapters.inboxes),
                heads: Arc::clone(&heads),
                reader: adapters.reader,
                positions: Arc::clone(&marked),
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
            heads: Arc::clone(&heads),
            positions: Arc::clone(&gathered),
            outbox: Arc::clone(&outbox),
            part,
        });
        Ok(Self {
            handler,
            stream,
            heads,
            outbox,
            positions: gathered,
            marked,
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
    let opened = match platform.shape() {
        Shape::Embedded => adapters_of_embedded(config, platform).await?,
        #[cfg(feature = "cluster")]
        Shape::Cluster(servers) => adapters_of_cluster(config, platform, &servers.postgres).await?,
        other => return Err(other.is_not_built().into()),
    };
    build_on(config, platform, opened).await
}

/// Builds the service on these adapters.
pub async fn build_on(
    config: &SessionConfig,
    platform: &Platform,
    opened: Opened,
) -> Result<Parts, ServiceError> {
    let Opened {
        adapters,
        following,
        close,
    } = opened;
    let shutdown = platform.shutdown.clone();
    let bus = platform.event_bus().await?;
    let Session {
        handler,
        stream,
        heads,
        outbox,
        positions,
        marked,
        delivered,
        signals,
    } = Session::new(config, adapters).await?;
    let ready = platform.readiness.register("session");
    let (ending, followed) = (Arc::clone(&stream), following.clone());
    let behind = config.recent_heads.into();
    platform.at_end(Task::new("session.database", async move {
        // After the last request: none is answered from a count that goes on behind what is kept of it.
        let ended = ending.end().await;
        if let Some(following) = followed {
            following.end().await;
        }
        close.await;
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
        match Arc::ptr_eq(&positions, &marked) {
            true => positions.run().await,
            false => drop(tokio::join!(positions.run(), marked.run())),
        }
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
        if let Some(following) = &following {
            let follower = Arc::new(FollowedEvents { heads });
            following.begin(behind, follower, &shutdown).await?;
        }
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
