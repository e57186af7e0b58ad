//! Puts the service together.

use std::sync::Arc;

use flare_proto::storage::storage_reader_service_server::StorageReaderServiceServer;
use flare_server_core::{
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, ServiceError},
};
use flare_storage_model::open_store;
use tonic::service::Routes;

use crate::{
    application::{access::Access, history::History, locate::Locate, ranges::Ranges},
    config::StorageReaderConfig,
    handler::grpc::Grpc,
    infrastructure::{grpc_log_places::GrpcLogPlaces, grpc_visibility::GrpcVisibility},
};

/// The service, as a process runs it.
pub fn hosted(config: StorageReaderConfig) -> Hosted {
    Hosted::inner(service::STORAGE_READER, async move |platform| {
        build(&config, &platform).await
    })
}

/// Opens the store and offers the service.
pub async fn build(
    config: &StorageReaderConfig,
    platform: &Platform,
) -> Result<Parts, ServiceError> {
    let store = open_store(platform).await?;
    let visibility = Arc::new(GrpcVisibility::new(&platform.channels));
    let access = Access { store, visibility };
    let handler = Grpc {
        ranges: Ranges {
            access: access.clone(),
            max_bytes: config.max_answer_bytes,
        },
        history: History {
            access: access.clone(),
            max_bytes: config.max_answer_bytes,
        },
        locate: Locate {
            access,
            log: Arc::new(GrpcLogPlaces::new(&platform.channels)),
        },
        max_ranges: config.max_ranges,
    };
    Ok(Parts {
        routes: vec![Routes::new(StorageReaderServiceServer::new(handler))],
        services: vec![service::STORAGE_READER],
        ..Parts::default()
    })
}
