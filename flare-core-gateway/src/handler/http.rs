//! HTTP/JSON and the page.

use std::sync::Arc;

use axum::{
    RequestExt, Router,
    extract::{RawPathParams, Request},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::{MethodFilter, get, on},
};
use bytes::Bytes;
use flare_proto::storage;
use flare_server_core::{error::Refusal, service::ServiceError};
use prost::Message;
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders},
    set_header::SetResponseHeaderLayer,
};

use self::routes::{CLIENT_CONFIG_PATH, DOCS_PATH, OPENAPI_PATH, ROUTES, Route, Verb};
use super::{
    admission::Admission,
    body::Bodies,
    calls::Calls,
    client_link::{AskedHost, ClientLinks},
    grpc::unknown_service,
    observe::{REQUEST_ID, TRACE_ID, ids_of, is_grpc},
};

pub mod answer;
pub mod openapi;
pub mod page;
pub mod request;
pub mod routes;

/// A browser asks again for leave to call after this, in seconds.
const CORS_MAX_AGE_S: u64 = 3_600;
/// The page over the OpenAPI document styles itself in line, and draws its icons from data URLs.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The service's HTTP side.
pub struct Http {
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// What is done.
    pub calls: Arc<Calls>,
    /// Where clients connect.
    pub links: ClientLinks,
    /// What is read.
    pub bodies: Arc<Bodies>,
}

/// The routes of the table, the OpenAPI document and its page, and the page at `/`, which answers whatever no route takes.
///
/// # Errors
/// A table that does not fit the contract.
pub fn router(http: Http, allowed_origins: &[String]) -> Result<Router, ServiceError> {
    let document = Bytes::from(serde_json::to_vec(&openapi::document()?)?);
    let http = Arc::new(http);
    let mut router = Router::new();
    for route in ROUTES {
        let http = Arc::clone(&http);
        let filter = match route.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Delete => MethodFilter::DELETE,
        };
        let handler = move |request: Request| async move { http.answer(route, request).await };
        router = router.route(route.path, on(filter, handler));
    }
    let link_http = Arc::clone(&http);
    router = router
        .route(
            OPENAPI_PATH,
            get(move || async move { answer::json_answer(StatusCode::OK, document) }),
        )
        .route(
            CLIENT_CONFIG_PATH,
            get(move |request: Request| async move { link_http.client_config(&request) }),
        )
        .merge(docs())
        .method_not_allowed_fallback(|request: Request| async move {
            answer::no_such_verb(request.method().as_str(), request.uri().path())
        })
        .fallback(move |request: Request| async move { http.unrouted(&request) })
        .layer(CompressionLayer::new());
    if !allowed_origins.is_empty() {
        router = router.layer(cors(allowed_origins)?);
    }
    Ok(router)
}

fn docs() -> Router {
    let config = utoipa_swagger_ui::Config::from(OPENAPI_PATH);
    let router: Router = utoipa_swagger_ui::SwaggerUi::new(DOCS_PATH)
        .config(config)
        .into();
    router
        .layer(SetResponseHeaderLayer::overriding(
            header::CONTENT_SECURITY_POLICY,
            DOCS_POLICY,
        ))
        .layer(SetResponseHeaderLayer::overriding(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
}

fn cors(allowed_origins: &[String]) -> Result<CorsLayer, ServiceError> {
    let origins = allowed_origins
        .iter()
        .map(|it| HeaderValue::from_str(it))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list([
            REQUEST_ID,
            TRACE_ID,
            header::RETRY_AFTER,
        ]))
        .max_age(std::time::Duration::from_secs(CORS_MAX_AGE_S)))
}

impl Http {
    async fn answer(&self, route: &Route, request: Request) -> Response {
        let outcome = self.calls.in_time(self.call(route, request)).await;
        outcome.unwrap_or_else(answer::refusal)
    }

    async fn call(&self, route: &Route, mut request: Request) -> Result<Response, Refusal> {
        let ids = ids_of(&request)?;
        let mut call = self
            .admission
            .admit(route.method, request.headers(), ids)
            .await?;
        let path = request
            .extract_parts::<RawPathParams>()
            .await
            .map_err(|error| Refusal::invalid("", format!("the path cannot be read: {error}")))?;
        let path: Vec<_> = path
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let (parts, body) = request.into_parts();
        let body = self
            .bodies
            .read(body, 0, &self.admission, &mut call)
            .await?;
        let bytes = request::assemble(route, &path, &parts.uri, &parts.headers, &body.bytes)?;
        let answer = self.calls.dispatch(route.method, &call, &bytes).await;
        let answer = answer.map_err(|refusal| of_element(route, refusal))?;
        if route.element.is_some() {
            return only_range(&answer);
        }
        let response = request::descriptor(route.method)?.output();
        Ok(answer::message(response.full_name(), &answer))
    }

    fn client_config(&self, request: &Request) -> Response {
        match serde_json::to_vec(&self.links.config(AskedHost::of(request).as_ref())) {
            Ok(json) => answer::json_answer(StatusCode::OK, json),
            Err(error) => answer::refusal(Refusal::internal(error)),
        }
    }

    /// Whatever no route takes: a gRPC call, a path of the API that there is not, or a file of the page.
    fn unrouted(&self, request: &Request) -> Response {
        let (path, headers) = (request.uri().path(), request.headers());
        if is_grpc(headers) {
            return unknown_service(path);
        }
        if path.starts_with("/api/") || path == "/api" {
            return answer::no_such_path(path);
        }
        page::serve(
            request.method(),
            path,
            headers,
            &self.links.websocket_origin(AskedHost::of(request).as_ref()),
        )
    }
}

/// Where the route is about one element, its fields are parameters: they are named without the batch around them.
fn of_element(route: &Route, refusal: Refusal) -> Refusal {
    let field = route
        .element
        .and_then(|it| refusal.field.strip_prefix(it.request)?.strip_prefix('.'))
        .map(str::to_owned);
    match field {
        Some(field) => refusal.with_field(field),
        None => refusal,
    }
}

/// The one range of an answer, or why it was refused.
fn only_range(answer: &[u8]) -> Result<Response, Refusal> {
    let mut ranges = storage::ReadRangesResponse::decode(answer)
        .map_err(Refusal::internal)?
        .ranges;
    match (ranges.pop(), ranges.is_empty()) {
        (
            Some(storage::RangeResult {
                error: Some(error), ..
            }),
            true,
        ) => Err(error.into()),
        (Some(range), true) => Ok(answer::message(
            "flare.storage.v1.RangeResult",
            &range.encode_to_vec(),
        )),
        _ => Err(Refusal::internal(
            "one range was asked for, and not one was answered",
        )),
    }
}
