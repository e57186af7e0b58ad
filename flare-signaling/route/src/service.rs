//! Puts the service together.

use flare_proto::signaling::router_service_server::RouterServiceServer;
use flare_server_core::{
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, Task},
};
use tonic::service::Routes;

use crate::{application::directories::Directories, config::RouteConfig, handler::grpc::Grpc};

/// The service, as a process runs it.
pub fn hosted(config: RouteConfig) -> Hosted {
    Hosted::inner(service::ROUTE, async move |platform| {
        Ok(build(&config, &platform))
    })
}

/// Offers the service, on empty directories.
pub fn build(config: &RouteConfig, platform: &Platform) -> Parts {
    let directories = Directories::new(config);
    let handler = Grpc::new(directories.clone(), platform.shutdown.clone());
    let shutdown = platform.shutdown.clone();
    let tidying = Task::new("signaling-route.tidy", async move {
        shutdown.or_drain(directories.keep_tidy()).await;
        Ok(())
    });
    Parts {
        routes: vec![Routes::new(RouterServiceServer::new(handler))],
        services: vec![service::ROUTE],
        tasks: vec![tidying],
        edges: Vec::new(),
    }
}
