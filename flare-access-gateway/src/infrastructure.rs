//! The other services, by gRPC.

pub mod grpc_memberships;
pub mod grpc_orchestrator;
pub mod grpc_position_store;
pub mod grpc_presence;
pub mod grpc_routers;
pub mod grpc_services;
pub mod grpc_signals;

use std::time::Duration;

use flare_proto::common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext};
use flare_server_core::error::Refusal;
use tonic::{Response, Status};

/// When to ask again what was not answered in time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The context of a call that the gateway makes for no single user.
fn own_context() -> RequestContext {
    RequestContext {
        actor: Some(Actor {
            kind: ActorKind::Service.into(),
            ..Actor::default()
        }),
        tenant: Some(TenantContext::default()),
        ..RequestContext::default()
    }
}

/// Gives a call up after `deadline`, whatever the other side does.
async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Refusal::new(
            ErrorCode::DeadlineExceeded,
            format!("no answer within {deadline:?}"),
        )
        .with_retry_after(RETRY_AFTER)),
    }
}
