//! Puts the service together.

use std::{sync::Arc, time::Duration};

use flare_proto::push::push_scheduler_service_server::PushSchedulerServiceServer;
use flare_server_core::{
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, ServiceError, Task},
};
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::{
    application::{
        deliver::Deliver,
        large::LargeConversations,
        missed::Missed,
        ports::{Gateways, Presence},
        rosters::Rosters,
        signal::PassOn,
    },
    config::PushServerConfig,
    handler::{events::Events, grpc::Grpc},
    infrastructure::{
        grpc_gateways::GrpcGateways, grpc_interest::GrpcInterest, grpc_presence::GrpcPresence,
        grpc_roster_source::GrpcRosterSource,
    },
};

const TOPIC: &str = "flare.im.message.persisted";
const GROUP: &str = "push";

/// The service, as a process runs it.
pub fn hosted(config: PushServerConfig) -> Hosted {
    Hosted::inner(service::PUSH_SERVER, async move |platform| {
        build(&config, &platform).await
    })
}

/// Subscribes to the stream and offers the service.
pub async fn build(config: &PushServerConfig, platform: &Platform) -> Result<Parts, ServiceError> {
    let bus = platform.event_bus().await?;
    let presence: Arc<dyn Presence> = Arc::new(GrpcPresence::new(&platform.channels));
    let streams = Arc::new(GrpcGateways::new(
        platform.channels.clone(),
        platform.shutdown.clone(),
        config.gateway_queue_batches,
        Duration::from_millis(config.gateway_deadline_ms),
    ));
    let gateways: Arc<dyn Gateways> = Arc::clone(&streams) as _;
    let source = Arc::new(GrpcRosterSource::new(&platform.channels));
    let rosters = Rosters::new(Arc::clone(&source) as _, config.max_roster_members);
    let deliver = Deliver {
        presence: Arc::clone(&presence),
        interest: Arc::new(GrpcInterest::new(&platform.channels)),
        gateways: Arc::clone(&gateways),
        rosters: rosters.clone(),
        large: LargeConversations::new(source, config.max_large_conversations),
        spans: platform.spans.clone(),
    };
    let pass_on = Arc::new(PassOn {
        presence,
        gateways,
        rosters,
    });

    let ready = platform.readiness.register("push-server");
    let opening = Task::new("push-server.gateways", {
        let streams = Arc::clone(&streams);
        async move {
            streams.keep_open(ready).await;
            Ok(())
        }
    });
    let shutdown = platform.shutdown.clone();
    let events = Task::new("push-server.events", async move {
        let subscription = bus
            .subscribe(TOPIC, GROUP, Arc::new(Events { deliver }))
            .await?;
        shutdown.draining().await;
        subscription.shutdown().await;
        streams.close().await;
        Ok(())
    });
    let (queue, signals) = mpsc::channel(config.signal_queue);
    let missed = Arc::new(Missed::new(config.signal_queue));
    let shutdown = platform.shutdown.clone();
    let signals = Task::new("push-server.signals", {
        let (pass_on, missed) = (Arc::clone(&pass_on), Arc::clone(&missed));
        async move {
            pass_on.run(signals, &missed, &shutdown).await;
            Ok(())
        }
    });
    let shutdown = platform.shutdown.clone();
    let hints = Task::new("push-server.hints", {
        let missed = Arc::clone(&missed);
        async move {
            missed.tell(&pass_on, &shutdown).await;
            Ok(())
        }
    });
    let grpc = Grpc { queue, missed };
    Ok(Parts {
        routes: vec![Routes::new(PushSchedulerServiceServer::new(grpc))],
        services: vec![service::PUSH_SERVER],
        tasks: vec![opening, events, signals, hints],
        edges: Vec::new(),
    })
}
