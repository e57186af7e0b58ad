//! `flare.gateway.v1.CoreGatewayService`, with reflection and health.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use flare_proto::{
    FILE_DESCRIPTOR_SET,
    common::ErrorCode,
    gateway::core_gateway_service_server::{CoreGatewayService, CoreGatewayServiceServer},
};
use flare_server_core::{error::Refusal, service::ServiceError, shutdown::Shutdown};
use futures::{StreamExt, stream};
use http::{Extensions, HeaderMap};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use tonic::{Code, Status, service::Routes};
use tonic_health::server::HealthReporter;

use super::{
    admission::{Admission, Call},
    body::{Bodies, GRPC_PREFIX_BYTES, check_fields},
    calls::Calls,
    method::{Method, SERVICE, for_each_method},
    observe::ids_of,
};

/// The service's gRPC side.
#[derive(Clone)]
pub struct Grpc {
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// What is done.
    pub calls: Arc<Calls>,
    /// What is read.
    pub bodies: Arc<Bodies>,
    /// When answers without an end are ended.
    pub shutdown: Shutdown,
}

/// Health and reflection ask short questions, of anybody.
const MAX_QUESTION_BYTES: usize = 4 * 1024;

type Answer<T> = Result<tonic::Response<T>, Status>;

fn call(extensions: &Extensions) -> Result<Call, Refusal> {
    extensions
        .get()
        .cloned()
        .ok_or_else(|| Refusal::internal("a call came in around the layer that admits it"))
}

macro_rules! service {
    ($($name:ident, $call:ident($request:ident) -> $response:ident, $scope:ident, $callers:ident;)*) => {
        #[tonic::async_trait]
        impl CoreGatewayService for Grpc {
            $(
                async fn $call(&self, request: tonic::Request<messages::$request>) -> Answer<messages::$response> {
                    let (_, extensions, mut request) = request.into_parts();
                    let call = call(&extensions)?;
                    call.fill(&mut request.context)?;
                    Ok(tonic::Response::new(self.calls.$call(&call, request).await?))
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
            // So that callers can read the details of a refusal.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .with_service_name(SERVICE)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    let service = CoreGatewayServiceServer::new(grpc.clone())
        .max_decoding_message_size(max_body_bytes)
        .max_encoding_message_size(usize::MAX);
    let routes = Routes::new(service)
        .add_service(health_service.max_decoding_message_size(MAX_QUESTION_BYTES))
        .add_service(
            reflection()
                .build_v1()?
                .max_decoding_message_size(MAX_QUESTION_BYTES),
        )
        .add_service(
            reflection()
                .build_v1alpha()?
                .max_decoding_message_size(MAX_QUESTION_BYTES),
        );
    let guard = axum::middleware::from_fn_with_state(grpc, guard);
    let router = routes.into_axum_router().reset_fallback().layer(guard);
    Ok((router, health))
}

/// Admits a call before a byte of its request is read, and gives it up after the deadline, slow senders included.
async fn guard(State(grpc): State<Grpc>, request: Request, next: Next) -> Response {
    let work = async {
        let Some(method) = method(request.uri().path()) else {
            let until_drain = |body| until_drain(body, &grpc.shutdown);
            let response = next.run(request.map(until_drain)).await;
            return Ok(response.map(until_drain));
        };
        let ids = ids_of(&request)?;
        let mut call = grpc.admission.admit(method, request.headers(), ids).await?;
        let (mut parts, body) = request.into_parts();
        let bodies = &grpc.bodies;
        let body = bodies.read(body, GRPC_PREFIX_BYTES, &grpc.admission, &mut call);
        let body = body.await?;
        check_fields(body.bytes.get(GRPC_PREFIX_BYTES..).unwrap_or_default())?;
        parts.extensions.insert(call);
        let request = Request::from_parts(parts, Body::from(body.bytes.clone()));
        Ok(next.run(request).await)
    };
    match grpc.calls.in_time(work).await {
        Ok(response) => explained(response),
        Err(refusal) => Status::from(refusal).into_http(),
    }
}

/// Ends what somebody asks of health or reflection, or is told, with the drain, which would wait for who watches.
fn until_drain(body: Body, shutdown: &Shutdown) -> Body {
    let shutdown = shutdown.clone();
    let frames = stream::unfold(Some(BodyStream::new(body)), move |frames| {
        let shutdown = shutdown.clone();
        async move {
            let mut frames = frames?;
            tokio::select! {
                biased;
                frame = frames.next() => Some((frame?, Some(frames))),
                () = shutdown.draining() => Some((Ok(Frame::trailers(draining())), None)),
            }
        }
    });
    Body::new(StreamBody::new(frames))
}

fn draining() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // What cannot be added is left out: the end itself says enough.
    let _ = Status::unavailable("the server drains").add_header(&mut trailers);
    trailers
}

fn method(path: &str) -> Option<Method> {
    Method::named(
        path.strip_prefix('/')?
            .strip_prefix(SERVICE)?
            .strip_prefix('/')?,
    )
}

/// Gives refusals that tonic made before any handler ran the details that all others have.
fn explained(response: Response) -> Response {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    if status.code() == Code::Ok || !status.details().is_empty() {
        return response;
    }
    let code = match status.code() {
        Code::OutOfRange => ErrorCode::FrameTooLarge,
        Code::Unimplemented => ErrorCode::UnknownMethod,
        Code::Internal | Code::InvalidArgument => ErrorCode::MalformedFrame,
        _ => return response,
    };
    let message = match status.message() {
        "" => "no such method is here".to_owned(),
        message => message.to_owned(),
    };
    Status::from(Refusal::new(code, message)).into_http()
}

/// Answers a gRPC call of a service that is not here.
pub fn unknown_service(path: &str) -> Response {
    let path = crate::domain::caller::shortened(path);
    Status::from(Refusal::new(
        ErrorCode::UnknownMethod,
        format!("no method {path} is here"),
    ))
    .into_http()
}
