//! Puts the service together.

use std::sync::Arc;

use flare_proto::signaling::signaling_service_server::SignalingServiceServer;
#[cfg(feature = "cluster")]
use flare_server_core::redis::Redis;
use flare_server_core::{
    platform::Platform,
    process::Hosted,
    registry::service,
    servers::Shape,
    service::{Parts, ServiceError, Task},
};
use tonic::service::Routes;

use crate::{
    application::{
        closing::Closing,
        ports::{LastSeenStore, PresenceStore, RevocationStore},
        queries::Queries,
        registration::Registration,
        sign_out::SignOut,
        tokens::Tokens,
    },
    config::OnlineConfig,
    handler::grpc::Grpc,
    infrastructure::{
        grpc_gateways::GrpcGateways, memory_last_seen_store::MemoryLastSeenStore,
        memory_presence_store::MemoryPresenceStore, sqlite_revocation_store::SqliteRevocationStore,
    },
};

/// The service, as a process runs it.
pub fn hosted(config: OnlineConfig) -> Hosted {
    Hosted::inner(service::ONLINE, async move |platform| {
        build(&config, &platform).await
    })
}

/// What is known, and where it is kept.
struct Stores {
    presence: Arc<dyn PresenceStore>,
    revocations: Arc<dyn RevocationStore>,
    last_seen: Arc<dyn LastSeenStore>,
}

async fn stores(config: &OnlineConfig, platform: &Platform) -> Result<Stores, ServiceError> {
    let ids = Arc::clone(&platform.ids);
    match platform.shape() {
        Shape::Embedded => {
            let revocations = SqliteRevocationStore::open(platform.data_root()).await?;
            let ending = revocations.clone();
            platform.at_end(Task::new("signaling-online.database", async move {
                ending.close().await;
                Ok(())
            }));
            Ok(Stores {
                presence: Arc::new(MemoryPresenceStore::new(ids)),
                revocations: Arc::new(revocations),
                last_seen: Arc::new(MemoryLastSeenStore::new(config.max_remembered_users)),
            })
        }
        #[cfg(feature = "cluster")]
        Shape::Cluster(servers) => {
            use crate::infrastructure::{
                postgres_revocation_store::PostgresRevocationStore,
                redis_last_seen_store::RedisLastSeenStore,
                redis_presence_store::RedisPresenceStore,
            };
            let revocations = Arc::new(PostgresRevocationStore::open(&servers.postgres).await?);
            let ending = Arc::clone(&revocations);
            platform.at_end(Task::new("signaling-online.database", async move {
                ending.close().await;
                Ok(())
            }));
            let redis = Redis::open(&servers.redis, ids)?;
            Ok(Stores {
                presence: Arc::new(RedisPresenceStore::new(redis.clone())),
                revocations,
                last_seen: Arc::new(RedisLastSeenStore::new(redis)),
            })
        }
        other => Err(other.is_not_built().into()),
    }
}

/// Opens the stores and offers the service.
pub async fn build(config: &OnlineConfig, platform: &Platform) -> Result<Parts, ServiceError> {
    let Stores {
        presence,
        revocations,
        last_seen,
    } = stores(config, platform).await?;
    let gateways = Arc::new(GrpcGateways::new(platform.channels.clone()));
    let closing = Closing::new(Arc::clone(&presence), gateways);
    let clock = Arc::clone(&platform.clock);
    let tokens = Tokens {
        revocations: Arc::clone(&revocations),
        clock: Arc::clone(&clock),
    };
    let registration = Arc::new(Registration {
        presence: Arc::clone(&presence),
        tokens: tokens.clone(),
        closing: closing.clone(),
        clock: Arc::clone(&clock),
        last_seen: Arc::clone(&last_seen),
        lease_ms: config.lease_ms,
        max_devices: config.max_devices_per_user,
        lease_added: tokio::sync::Notify::new(),
    });
    let handler = Grpc {
        registration: Arc::clone(&registration),
        sign_out: SignOut {
            presence: Arc::clone(&presence),
            revocations,
            closing,
            clock,
        },
        queries: Queries {
            presence,
            last_seen,
        },
        tokens,
    };
    let shutdown = platform.shutdown.clone();
    let reap = Task::new("signaling-online.reap", async move {
        shutdown.or_drain(registration.reap()).await;
        Ok(())
    });
    Ok(Parts {
        routes: vec![Routes::new(SignalingServiceServer::new(handler))],
        services: vec![service::ONLINE],
        tasks: vec![reap],
        edges: Vec::new(),
    })
}
