//! Every service's crate, and what they stand on.

use std::{collections::HashMap, sync::Arc};

use flare_core_gateway::ClientLink;
use flare_server_core::{
    embedded::EmbeddedAdapters,
    identity::{LocalJwt, TokenValidator, peer::PeerSecret},
    ops::router,
    platform::{Platform, PlatformParts},
    registry::StaticRegistry,
    service::{Parts, ServiceError, Task},
    shutdown::Shutdown,
    telemetry::{CallSpans, Telemetry},
    tls::{Certificate, PeerTls},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    service::{InterceptorLayer, Routes},
    transport::Server,
};

use crate::{
    compose::{Addresses, Ground},
    config::Config,
    plugins::Plugins,
    role::Role,
};

/// A batch between processes may be as large as this: a full batch of the largest contents.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// Makes the platform.
pub(crate) fn platform(
    config: &Config,
    ground: &Ground,
    listeners: HashMap<String, TcpListener>,
    (peer_secret, peer_tls): (Option<PeerSecret>, Option<PeerTls>),
    addresses: &Addresses,
) -> Platform {
    let shutdown = Shutdown::new();
    Platform::new(PlatformParts {
        data: ground.data.clone(),
        adapters: Box::new(EmbeddedAdapters::new(
            ground.data.clone(),
            &config.log,
            shutdown.clone(),
        )),
        registry: Arc::new(StaticRegistry::new(config.registry.services.clone())),
        peer_secret,
        peer_tls,
        endpoint: addresses.peer_endpoint(),
        shutdown,
        spans: ground.telemetry.spans.clone(),
        listeners,
    })
}

/// Builds services.
pub(crate) struct Composer<'a> {
    config: &'a Config,
    platform: &'a Platform,
    plugins: Plugins,
    validator: Arc<dyn TokenValidator>,
    link: ClientLink,
    certificate: Option<Arc<Certificate>>,
}

impl<'a> Composer<'a> {
    /// Opens what several services share.
    pub(crate) fn new(
        config: &'a Config,
        platform: &'a Platform,
        plugins: Plugins,
        link: ClientLink,
        certificate: Option<Arc<Certificate>>,
    ) -> Result<Self, ServiceError> {
        let validator = Arc::new(LocalJwt::open(
            &config.identity,
            platform.data_root(),
            &platform.ids,
        )?);
        Ok(Self {
            config,
            platform,
            plugins,
            validator,
            link,
            certificate,
        })
    }

    /// Builds one.
    pub(crate) async fn build(&self, role: Role) -> Result<Parts, ServiceError> {
        let (config, platform) = (self.config, self.platform);
        let validator = Arc::clone(&self.validator);
        match role {
            Role::StorageWriter => {
                flare_storage_writer::build(&config.storage_writer, platform).await
            }
            Role::StorageReader => {
                flare_storage_reader::build(&config.storage_reader, platform).await
            }
            Role::SignalingOnline => {
                flare_signaling_online::build(&config.signaling_online, platform).await
            }
            Role::MessageOrchestrator => {
                let hooks = self.plugins.pre_send_hooks.clone();
                flare_message_orchestrator::service::build_with_hooks(
                    &config.message_orchestrator,
                    platform,
                    hooks,
                )
                .await
            }
            Role::Session => flare_session::build(&config.session, platform).await,
            Role::PushServer => flare_push_server::build(&config.push_server, platform).await,
            Role::AccessGateway => {
                flare_access_gateway::build(
                    &config.access_gateway,
                    platform,
                    validator,
                    self.certificate.clone(),
                )
                .await
            }
            Role::CoreGateway => {
                flare_core_gateway::build(
                    &config.core_gateway,
                    platform,
                    validator,
                    &config.identity.tenants,
                    self.link.clone(),
                    self.certificate.clone(),
                )
                .await
            }
        }
    }
}

/// Health and metrics over HTTP.
pub(crate) fn ops(platform: &Platform, telemetry: &Telemetry, listener: TcpListener) -> Vec<Task> {
    let app = router(platform.readiness.clone(), telemetry.metrics.clone());
    let shutdown = platform.shutdown.clone();
    let serve = Task::new("ops.serve", async move {
        // Answers during the drain, too: it ends with the process.
        let serving = axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.draining().await });
        Ok(serving.await?)
    });
    let metrics = telemetry.metrics.clone();
    let shutdown = platform.shutdown.clone();
    let upkeep = Task::new("ops.metrics", async move {
        metrics.upkeep(shutdown).await;
        Ok(())
    });
    vec![serve, upkeep]
}

/// This process's services, for others that bear the shared secret.
pub(crate) fn peer(
    platform: &Platform,
    listener: TcpListener,
    routes: Routes,
    secret: &PeerSecret,
    tls: Option<PeerTls>,
) -> Task {
    let shutdown = platform.shutdown.clone();
    let guard = InterceptorLayer::new(secret.server());
    let spans = CallSpans::new(platform.spans.clone());
    Task::new("peer.serve", async move {
        let server = Server::builder()
            .layer(guard)
            .layer(spans)
            .max_frame_size(MAX_FRAME_BYTES)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 22)
            .tcp_nodelay(true)
            .add_routes(routes);
        let drain = async move { shutdown.draining().await };
        match tls {
            Some(tls) => {
                let peers = tls.incoming(listener);
                server.serve_with_incoming_shutdown(peers, drain).await?;
            }
            None => {
                let anybody = TcpListenerStream::new(listener);
                server.serve_with_incoming_shutdown(anybody, drain).await?;
            }
        }
        Ok(())
    })
}
