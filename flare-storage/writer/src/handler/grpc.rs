//! `flare.storage.v1.StorageWriterService`.

use std::time::Duration;

use flare_proto::{
    common::{ActorKind, ErrorCode, RequestContext},
    storage::{
        FindInLogRequest, FindInLogResponse, LogPresence,
        storage_writer_service_server::StorageWriterService,
    },
};
use flare_server_core::{error::Refusal, message_log::ReadError};
use flare_storage_model::StoreError;
use tonic::{Request, Response, Status};
use ulid::Ulid;

use crate::application::find_in_log::{FindError, Found, LogSearch};

/// When a question that log or store could not answer may be asked again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The service's gRPC side.
pub struct Grpc {
    /// Finds messages.
    pub search: LogSearch,
}

/// The tenant that is asked about. Its users are not answered: where things stand in the log is no business of theirs.
fn tenant(context: Option<RequestContext>) -> Result<String, Refusal> {
    let context = context.ok_or_else(|| Refusal::invalid("context", "context is missing"))?;
    let tenant = context
        .tenant
        .ok_or_else(|| Refusal::invalid("context.tenant", "nobody's tenant"))?
        .tenant_id;
    match context.actor.unwrap_or_default().kind() {
        ActorKind::System | ActorKind::Service => Ok(tenant),
        ActorKind::User | ActorKind::Api | ActorKind::Unspecified => Err(Refusal::invalid(
            "context.actor.kind",
            "only the system is told of the log",
        )),
    }
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        match &error {
            FindError::Log(ReadError::Unavailable { .. } | ReadError::Closed(_))
            | FindError::Store(StoreError::Unavailable(_) | StoreError::Closed) => {
                Refusal::unavailable(error.to_string(), RETRY_AFTER)
            }
            FindError::Log(_) | FindError::Store(_) | FindError::Undecodable { .. } => {
                Refusal::internal(error)
            }
        }
    }
}

#[tonic::async_trait]
impl StorageWriterService for Grpc {
    async fn find_in_log(
        &self,
        request: Request<FindInLogRequest>,
    ) -> Result<Response<FindInLogResponse>, Status> {
        let request = request.into_inner();
        let tenant = tenant(request.context)?;
        let message_id = Ulid::from_string(&request.message_id).map_err(|error| {
            let message = format!("{:?} is no ULID: {error}", request.message_id);
            Refusal::invalid("message_id", message)
        })?;
        let found = self
            .search
            .find(&tenant, message_id)
            .await
            .map_err(Refusal::from)?;
        Ok(Response::new(match found {
            Some(Found::At { offset, event }) => FindInLogResponse {
                presence: LogPresence::InLog.into(),
                log_offset: Some(offset),
                event,
            },
            Some(Found::Trimmed) => FindInLogResponse {
                presence: LogPresence::Trimmed.into(),
                ..FindInLogResponse::default()
            },
            None => {
                let message = format!("no message {message_id}");
                let refusal = Refusal::new(ErrorCode::MessageNotFound, message);
                return Err(refusal.with_field("message_id").into());
            }
        }))
    }
}
