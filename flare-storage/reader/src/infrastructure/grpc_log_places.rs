//! Where messages stand in the log, from flare-storage-writer.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    storage::{
        FindInLogRequest, LogPresence, storage_writer_service_client::StorageWriterServiceClient,
    },
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};
use ulid::Ulid;

use crate::application::ports::{LogPlace, LogPlaces};

const DEADLINE: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Asks `StorageWriterService.FindInLog`.
pub struct GrpcLogPlaces(StorageWriterServiceClient<ServiceChannel>);

impl GrpcLogPlaces {
    /// Asks over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self(StorageWriterServiceClient::new(
            channels.get(service::STORAGE_WRITER),
        ))
    }
}

#[async_trait]
impl LogPlaces for GrpcLogPlaces {
    async fn find(&self, tenant: &str, message_id: Ulid) -> Result<Option<LogPlace>, Refusal> {
        let request = FindInLogRequest {
            context: Some(RequestContext {
                actor: Some(Actor {
                    kind: ActorKind::Service.into(),
                    ..Actor::default()
                }),
                tenant: Some(TenantContext {
                    tenant_id: tenant.to_owned(),
                }),
                ..RequestContext::default()
            }),
            message_id: message_id.to_string(),
        };
        let mut client = self.0.clone();
        let answer = tokio::time::timeout(DEADLINE, client.find_in_log(request))
            .await
            .map_err(|_| Refusal::unavailable("the log could not be read in time", RETRY_AFTER))?
            .map_err(Refusal::from);
        match answer.map(tonic::Response::into_inner) {
            Ok(answer) => match (answer.presence(), answer.log_offset) {
                (LogPresence::InLog, Some(offset)) => Ok(Some(LogPlace::At {
                    offset,
                    event: answer.event,
                })),
                (LogPresence::Trimmed, _) => Ok(Some(LogPlace::Trimmed)),
                (presence, _) => Err(Refusal::internal(format!(
                    "flare-storage-writer said {} of {message_id}",
                    presence.as_str_name()
                ))),
            },
            Err(refusal) if refusal.code == ErrorCode::MessageNotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}
