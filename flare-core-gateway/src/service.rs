//! Puts the service together.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use flare_core::check::Limits;
use flare_proto::gateway::core_gateway_service_server::CoreGatewayServiceServer;
use flare_server_core::{
    owners::Owners,
    platform::Platform,
    process::{Audience, Hosted},
    registry::service,
    seats::Seats,
    service::{Parts, ServiceError, Task},
    tls::Acceptor,
};

use crate::{
    api_keys::{KeptKeys, kept_keys},
    application::{
        api_keys::ApiKeys,
        credentials::Credentials,
        rate_limits::{Rate, RateLimits},
    },
    config::CoreGatewayConfig,
    handler::{
        admission::Admission,
        body::Bodies,
        calls::Calls,
        client_link::{ClientLink, ClientLinks},
        grpc::{self, Grpc},
        http::{self, Http},
        listener::{self, Door},
        observe,
    },
    infrastructure::grpc_revocations::GrpcRevocations,
};

/// What a client may ask for by ALPN, the best first.
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];
/// Buckets that are full again are forgotten so often.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// The service, as a process runs it.
pub fn hosted(config: CoreGatewayConfig) -> Hosted {
    let address = config.listen.clone();
    Hosted::inner(service::CORE_GATEWAY, async move |platform| {
        build(&config, &platform).await
    })
    .listening(&address, Audience::Backends)
}

/// Opens the keys and offers gRPC, HTTP and the page on the platform's listener `flare-core-gateway`, to the tenants of its edge.
pub async fn build(config: &CoreGatewayConfig, platform: &Platform) -> Result<Parts, ServiceError> {
    let edge = platform.edge()?;
    let listener = platform
        .listener(service::CORE_GATEWAY)
        .ok_or("no listener is bound for flare-core-gateway")?;
    let KeptKeys { store, close } = kept_keys(platform.shape(), platform.data_root()).await?;
    platform.at_end(Task::new("core-gateway.database", async move {
        close.await;
        Ok(())
    }));
    let users = rate(config.user_requests_per_s, config.user_burst);
    let backends = rate(config.api_key_requests_per_s, config.api_key_burst);
    let admission = Arc::new(Admission {
        credentials: Credentials {
            validator: Arc::clone(&edge.validator),
            revocations: Arc::new(GrpcRevocations::new(platform.channels.get(service::ONLINE))),
            keys: Arc::clone(&store),
            tenants: edge.tenants.iter().cloned().collect(),
            clock: Arc::clone(&platform.clock),
        },
        rate_limits: RateLimits::new(users, backends),
    });
    let limits = Limits {
        max_content_bytes: config.max_content_bytes,
        max_mentions: config.max_mentions,
        ..Limits::default()
    };
    let keys = ApiKeys::new(
        store,
        Arc::clone(&platform.clock),
        Arc::clone(&platform.ids),
    );
    let deadline = Duration::from_millis(config.timeout_ms);
    let calls = Arc::new(Calls::new(
        &platform.channels,
        Owners::of(platform).await?,
        Arc::clone(&admission),
        keys,
        limits,
        deadline,
    ));
    let bodies = Arc::new(Bodies::new(config.max_body_bytes));
    let grpc = Grpc {
        admission: Arc::clone(&admission),
        calls: Arc::clone(&calls),
        bodies: Arc::clone(&bodies),
        shutdown: platform.shutdown.clone(),
    };
    let (grpc, health) = grpc::router(grpc, config.max_body_bytes)?;
    let http = Http {
        admission: Arc::clone(&admission),
        calls,
        links: ClientLinks {
            link: ClientLink {
                access_gateway: platform.addresses().access_gateway,
                encrypted: platform.addresses().tls,
                development_sign_in: platform.development_sign_in(),
            },
            public_ws_url: config.public_ws_url.clone(),
        },
        bodies,
    };
    let router = observe::layer(
        http::router(http, &config.allowed_origins)?.merge(grpc),
        platform,
    );

    let door = Door {
        acceptor: Acceptor::new(edge.certificate.clone(), PROTOCOLS),
        max_connections: config.max_connections,
        seats: Seats::new(
            config.max_connections,
            config.max_connections_per_ip,
            metrics::gauge!("flare_core_gateway_connections"),
        ),
        idle: Duration::from_millis(config.idle_ms),
    };
    let shutdown = platform.shutdown.clone();
    let serve = Task::new("core-gateway.serve", async move {
        health.set_serving::<CoreGatewayServiceServer<Grpc>>().await;
        let draining = async {
            shutdown.draining().await;
            health
                .set_not_serving::<CoreGatewayServiceServer<Grpc>>()
                .await;
        };
        tokio::join!(
            listener::serve(listener, door, router, shutdown.clone()),
            draining
        );
        Ok(())
    });
    let shutdown = platform.shutdown.clone();
    let forget = Task::new("core-gateway.forget-buckets", async move {
        let mut ticks = tokio::time::interval(FORGET_EVERY);
        while shutdown.or_drain(ticks.tick()).await.is_some() {
            admission.rate_limits.forget_idle();
        }
        Ok(())
    });
    Ok(Parts {
        routes: Vec::new(),
        services: Vec::new(),
        tasks: vec![forget],
        edges: vec![serve],
    })
}

/// The configuration has no zero; one would be taken for 1.
fn rate(per_second: u32, burst: u32) -> Rate {
    let above_zero = |it: u32| NonZeroU32::new(it).unwrap_or(NonZeroU32::MIN);
    Rate {
        per_second: above_zero(per_second),
        burst: above_zero(burst),
    }
}
