//! Puts the service together.

use std::{sync::Arc, time::Duration};

use flare_core::pending::LaneIds;
use flare_proto::access::access_gateway_service_server::AccessGatewayServiceServer;
use flare_server_core::{
    owners::Owners,
    platform::Platform,
    process::{Audience, Hosted},
    registry::service,
    service::{Parts, ServiceError, Task},
    tls::Acceptor,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    application::{
        connections::Connections,
        large::LargeConversations,
        positions::PositionGatherer,
        registrar::Registrar,
        signals::signals,
        submitter::{Bounds, Submitter},
    },
    config::AccessGatewayConfig,
    domain::large,
    handler::{grpc::Grpc, link::Link, websocket},
    infrastructure::{
        grpc_memberships::GrpcMemberships, grpc_orchestrator::GrpcOrchestrator,
        grpc_position_store::GrpcPositionStore, grpc_presence::GrpcPresence,
        grpc_routers::GrpcRouters, grpc_services::GrpcServices, grpc_signals::GrpcSignals,
    },
};

/// WebSocket begins as HTTP/1.1.
const PROTOCOLS: &[&str] = &["http/1.1"];

/// The service, as a process runs it.
pub fn hosted(config: AccessGatewayConfig) -> Hosted {
    let address = config.listen.clone();
    Hosted::inner(service::ACCESS_GATEWAY, async move |platform| {
        build(&config, &platform).await
    })
    .listening(&address, Audience::Clients)
}

/// Takes the listener "flare-access-gateway", and offers the service.
pub async fn build(
    config: &AccessGatewayConfig,
    platform: &Platform,
) -> Result<Parts, ServiceError> {
    let edge = platform.edge()?;
    let listener = platform
        .listener(service::ACCESS_GATEWAY)
        .ok_or("no listener was bound for flare-access-gateway")?;
    let channels = &platform.channels;
    let incarnation = platform.ids.ulid(platform.clock.now_ms()).to_string();
    let connections = Arc::new(Connections::new(incarnation.clone()));
    let closed = CancellationToken::new();

    let bounds = large::Bounds {
        places: config.max_large_places,
        views: config.max_viewed,
        hint_ms: config.head_hint_ms,
    };
    let large = Arc::new(LargeConversations::new(bounds, Arc::clone(&connections)));
    let presence = Arc::new(GrpcPresence::new(
        channels,
        &incarnation,
        platform.endpoint(),
    ));
    let (registrar, registering) = Registrar::new(
        presence,
        Arc::clone(&connections),
        Arc::clone(&large),
        config.registration_queue,
    );
    let (submitter, submitting) = Submitter::new(
        Arc::new(GrpcOrchestrator::new(channels)),
        Owners::of(platform).await?,
        Arc::clone(&connections),
        platform.shutdown.clone(),
        Bounds {
            queue: config.command_queue,
            in_flight: config.max_commands_in_flight,
            bytes: config.max_command_bytes,
        },
        Duration::from_millis(config.command_ms),
    );
    let positions = Arc::new(PositionGatherer::new(
        Arc::new(GrpcPositionStore::new(channels)),
        config.max_positions,
        Duration::from_millis(config.positions_ms),
    ));
    let (signals, passing_on) = signals(
        Arc::new(GrpcSignals::new(channels)),
        config.signal_queue,
        closed.clone(),
    );
    let link = Arc::new(Link {
        config: config.clone(),
        connections: Arc::clone(&connections),
        large: Arc::clone(&large),
        registrar,
        submitter,
        positions: Arc::clone(&positions),
        signals,
        services: Arc::new(GrpcServices::new(
            channels.clone(),
            Duration::from_millis(config.call_ms),
        )),
        validator: Arc::clone(&edge.validator),
        clock: Arc::clone(&platform.clock),
        ids: Arc::clone(&platform.ids),
        lane_ids: Arc::new(LaneIds::default()),
        spans: platform.spans.clone(),
        shutdown: platform.shutdown.clone(),
    });

    let memberships = Arc::new(GrpcMemberships::new(channels));
    let routers = Arc::new(GrpcRouters::new(
        channels,
        &incarnation,
        platform.endpoint(),
    ));
    let grpc = Grpc::new(
        connections,
        Arc::clone(&large),
        platform.spans.clone(),
        closed.clone(),
    );
    let tasks = vec![
        Task::new(
            "access-gateway.registrar",
            ending(registering.run(closed.clone())),
        ),
        Task::new(
            "access-gateway.submitter",
            ending(submitting.run(closed.clone())),
        ),
        Task::new(
            "access-gateway.positions",
            ending({
                let closed = closed.clone();
                async move { positions.run(closed).await }
            }),
        ),
        Task::new("access-gateway.signals", ending(passing_on)),
        Task::new(
            "access-gateway.memberships",
            ending({
                let (large, closed) = (Arc::clone(&large), closed.clone());
                async move { large.run_asking(memberships, closed).await }
            }),
        ),
        Task::new(
            "access-gateway.hints",
            ending({
                let (large, closed) = (Arc::clone(&large), closed.clone());
                async move { large.run_hinting(closed).await }
            }),
        ),
        Task::new(
            "access-gateway.interest",
            ending(large.run_announcing(routers, closed.clone())),
        ),
    ];
    // The tasks end after the edge, or with it if it never begins.
    let edge = Task::new(
        "access-gateway.websocket",
        websocket::serve(
            listener,
            Acceptor::new(edge.certificate.clone(), PROTOCOLS),
            link,
            closed.drop_guard(),
        ),
    );
    Ok(Parts {
        routes: vec![Routes::new(
            AccessGatewayServiceServer::new(grpc).max_decoding_message_size(usize::MAX),
        )],
        services: vec![service::ACCESS_GATEWAY],
        tasks,
        edges: vec![edge],
    })
}

async fn ending(work: impl Future<Output = ()>) -> Result<(), ServiceError> {
    work.await;
    Ok(())
}
