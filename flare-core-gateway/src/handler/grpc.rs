//! `flare.gateway.v1.CoreGatewayService`, with reflection and health.

use std::sync::Arc;

use axum::{Router, extract::Request, middleware::Next, response::Response};
use flare_proto::{
    FILE_DESCRIPTOR_SET,
    common::ErrorCode,
    gateway::core_gateway_service_server::{CoreGatewayService, CoreGatewayServiceServer},
};
use flare_server_core::{error::Refusal, service::ServiceError};
use http::Extensions;
use tonic::{Code, Status, service::Routes};
use tonic_health::server::HealthReporter;

use super::{
    admission::Admission,
    calls::Calls,
    method::{Method, SERVICE, for_each_method},
    observe::RequestIds,
};

/// The service's gRPC side.
pub struct Grpc {
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// What is done.
    pub calls: Arc<Calls>,
}

type Answer<T> = Result<tonic::Response<T>, Status>;

fn ids(extensions: &Extensions) -> Result<RequestIds, Refusal> {
    extensions.get().cloned().ok_or_else(|| Refusal::internal("a request came in around the layer that gives it its ids"))
}

macro_rules! service {
    ($($name:ident, $call:ident($request:ident) -> $response:ident, $scope:ident, $callers:ident;)*) => {
        #[tonic::async_trait]
        impl CoreGatewayService for Grpc {
            $(
                async fn $call(&self, request: tonic::Request<messages::$request>) -> Answer<messages::$response> {
                    let (metadata, extensions, mut request) = request.into_parts();
                    let work = async {
                        let ids = ids(&extensions)?;
                        let call = self.admission.admit(Method::$name, metadata.as_ref(), ids).await?;
                        call.fill(&mut request.context)?;
                        self.calls.$call(&call, request).await
                    };
                    Ok(tonic::Response::new(self.calls.in_time(work).await?))
                }
            )*
        }
    };
}
for_each_method!(service);

/// Requests and responses of all methods, whichever package they are of.
mod messages {
    pub(super) use flare_proto::{gateway::*, session::*, signaling::*, storage::*};
}

/// The service, reflection and health as one router, and what tells health.
///
/// # Errors
/// A contract that reflection cannot read.
pub fn router(grpc: Grpc, max_body_bytes: usize) -> Result<(Router, HealthReporter), ServiceError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    let service = CoreGatewayServiceServer::new(grpc)
        .max_decoding_message_size(max_body_bytes)
        .max_encoding_message_size(usize::MAX);
    let routes = Routes::new(service)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let router = routes.into_axum_router().reset_fallback().layer(axum::middleware::from_fn(explained));
    Ok((router, health))
}

/// Gives refusals that tonic made before any handler ran the details that all others have.
async fn explained(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    let message = status.message().to_owned();
    let code = match status.code() {
        Code::OutOfRange => ErrorCode::FrameTooLarge,
        Code::Unimplemented => ErrorCode::UnknownMethod,
        Code::Internal | Code::InvalidArgument => ErrorCode::MalformedFrame,
        _ => return response,
    };
    Status::from(Refusal::new(code, message)).into_http()
}

/// Answers a gRPC call of a service that is not here.
pub fn unknown_service(path: &str) -> Response {
    let path = crate::domain::caller::shortened(path);
    Status::from(Refusal::new(ErrorCode::UnknownMethod, format!("no method {path} is here"))).into_http()
}
