//! What every request gets, whichever way it came: ids, a log line or span where one is due, and its place in the metrics.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use flare_proto::ids::check_user_id;
use flare_server_core::{
    clock::{Clock, IdSource},
    error::Refusal,
    platform::Platform,
    telemetry::{About, Done, Spans, TraceId, is_failure},
};
use tonic::Code;
use tracing::Instrument;

use super::method::{Method, SERVICE};

/// Bears the request's id, both ways; made here if the caller sends none, or one that is no id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Tells the trace's id.
pub(crate) const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: &str = "traceparent";
const GRPC_STATUS: &str = "grpc-status";

/// The ids of one request.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// The caller's, or a ULID.
    pub request_id: String,
    /// The caller's, from `traceparent`, or a random one.
    pub trace_id: TraceId,
}

/// What observing takes.
struct Observer {
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    spans: Spans,
}

impl Observer {
    fn ids_of(&self, headers: &HeaderMap) -> RequestIds {
        let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
        RequestIds {
            request_id: text(REQUEST_ID.as_str())
                .filter(|it| check_user_id(it).is_ok())
                .map_or_else(
                    || self.ids.ulid(self.clock.now_ms()).to_string(),
                    str::to_owned,
                ),
            trace_id: text(TRACEPARENT)
                .and_then(TraceId::from_traceparent)
                .unwrap_or_else(|| TraceId::mint(&self.ids)),
        }
    }
}

/// The ids that a request was given.
///
/// # Errors
/// `INTERNAL` for one that came in around the layer that gives them.
pub(crate) fn ids_of(request: &Request) -> Result<RequestIds, Refusal> {
    let ids = request.extensions().get().cloned();
    ids.ok_or_else(|| Refusal::internal("a request came in around the layer that gives it its ids"))
}

/// By which way a request came, and to what: labels of metrics, each from a fixed set.
struct Target {
    surface: &'static str,
    route: String,
}

fn target(request: &Request) -> Target {
    let path = request.uri().path();
    if let Some(method) = path
        .strip_prefix('/')
        .and_then(|it| it.strip_prefix(SERVICE))
    {
        let route = Method::named(method.trim_start_matches('/')).map_or("unknown", Method::name);
        return Target {
            surface: "grpc",
            route: route.to_owned(),
        };
    }
    if is_grpc(request.headers()) {
        return Target {
            surface: "grpc",
            route: "other".to_owned(),
        };
    }
    // Verbs are few, and a path is only matched with the verbs that it has.
    let route = match request.extensions().get::<MatchedPath>() {
        Some(matched) if path.starts_with("/api/") => {
            format!("{} {}", verb(request.method()), matched.as_str())
        }
        _ if path.starts_with("/api/") => "unknown".to_owned(),
        _ => "page".to_owned(),
    };
    Target {
        surface: "http",
        route,
    }
}

fn verb(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// Whether a request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(axum::http::header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

/// The outcome of an answer: HTTP's status, or gRPC's code. A gRPC answer that has a body says in its trailers that it succeeded.
fn outcome(surface: &str, response: &Response) -> (String, bool) {
    if surface == "http" {
        let status = response.status();
        return (status.as_u16().to_string(), status.is_server_error());
    }
    let code = response
        .headers()
        .get(GRPC_STATUS)
        .map_or(Code::Ok, |it| Code::from_bytes(it.as_bytes()));
    (format!("{code:?}"), is_failure(code))
}

/// Puts the outermost layer around a router.
pub(crate) fn layer(router: Router, platform: &Platform) -> Router {
    let observer = Observer {
        clock: Arc::clone(&platform.clock),
        ids: Arc::clone(&platform.ids),
        spans: platform.spans.clone(),
    };
    router.layer(axum::middleware::from_fn_with_state(
        Arc::new(observer),
        observe,
    ))
}

async fn observe(
    State(observer): State<Arc<Observer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let ids = observer.ids_of(request.headers());
    let target = target(&request);
    request.extensions_mut().insert(ids.clone());
    let started = Instant::now();
    let span = observer.spans.open(ids.trace_id, || {
        tracing::info_span!("core_gateway.request", surface = target.surface, route = %target.route, request_id = %ids.request_id)
    });
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    let (code, failed) = outcome(target.surface, &response);
    let error = failed.then(|| format!("answered {code}"));
    let done = Done {
        trace: Some(ids.trace_id),
        operation: "core_gateway.request",
        took,
        about: &[
            ("surface", About::Text(target.surface)),
            ("route", About::Text(&target.route)),
            ("request_id", About::Text(&ids.request_id)),
        ],
        error: error.as_ref().map(|it| it as &dyn std::fmt::Display),
    };
    observer.spans.end(span, &done);
    let (surface, route) = (target.surface, target.route);
    metrics::counter!("flare_core_gateway_requests_total", "surface" => surface, "route" => route.clone(), "code" => code)
        .increment(1);
    metrics::histogram!("flare_core_gateway_request_seconds", "surface" => surface, "route" => route)
        .record(took.as_secs_f64());
    for (name, value) in [
        (REQUEST_ID, ids.request_id),
        (TRACE_ID, ids.trace_id.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
