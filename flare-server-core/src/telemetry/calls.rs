//! Spans of calls between services: `rpc`, in the process that serves the call, as part of the span that was open where it was made.

use std::task::{Context as TaskContext, Poll};

use futures::{FutureExt, future::BoxFuture, future::Either};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{
    spans::{Spans, fail},
    trace_id::TraceId,
};

const TRACEPARENT: &str = "traceparent";
const GRPC_STATUS: &str = "grpc-status";

/// Makes the spans of calls that come from other processes. Put it behind whatever lets only these in.
#[derive(Clone, Debug)]
pub struct CallSpans(Spans);

/// A service whose calls have spans.
#[derive(Clone, Debug)]
pub struct WithCallSpans<S> {
    inner: S,
    spans: Spans,
}

impl CallSpans {
    /// Of the traces that are sampled here, too.
    pub fn new(spans: Spans) -> Self {
        Self(spans)
    }
}

impl<S> Layer<S> for CallSpans {
    type Service = WithCallSpans<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let spans = self.0.clone();
        WithCallSpans { inner, spans }
    }
}

impl<S, B, R> Service<Request<B>> for WithCallSpans<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(caller) = caller(&self.spans, request.headers()) else {
            return Either::Left(self.inner.call(request));
        };
        let span = served(&request);
        if let Err(error) = span.set_parent(caller) {
            tracing::debug!(%error, "a call's span without its caller's");
        }
        Either::Right(within(span, self.inner.call(request)).boxed())
    }
}

/// The span of whoever made the call, if it bears one of a trace that is sampled here.
fn caller(spans: &Spans, headers: &HeaderMap) -> Option<Context> {
    let trace = TraceId::from_traceparent(headers.get(TRACEPARENT)?.to_str().ok()?)?;
    spans
        .is_sampled(trace)
        .then(|| TraceContextPropagator::new().extract(&Headers(headers)))
}

/// Sends the span that is open here along with a call to another process.
pub(crate) fn attach<B>(request: &mut Request<B>) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    if context.span().span_context().is_sampled() {
        TraceContextPropagator::new()
            .inject_context(&context, &mut HeadersMut(request.headers_mut()));
    }
}

/// The span of a call that this process serves itself, as part of the span that is open; disabled if none is.
pub(crate) fn served_here<B>(request: &Request<B>) -> Span {
    if Span::current().is_disabled() {
        return Span::none();
    }
    served(request)
}

fn served<B>(request: &Request<B>) -> Span {
    let method = request.uri().path().trim_start_matches('/');
    tracing::info_span!("rpc", otel.kind = "server", rpc.method = method)
}

/// Serves a call inside its span, and marks that if it failed.
pub(crate) async fn within<R, E>(
    span: Span,
    call: impl Future<Output = Result<Response<R>, E>>,
) -> Result<Response<R>, E> {
    if span.is_disabled() {
        return call.await;
    }
    let answer = call.instrument(span.clone()).await;
    let status = match &answer {
        // The trailers of an answer that has a body say that it succeeded.
        Ok(response) => response.headers().get(GRPC_STATUS),
        Err(_) => Some(&HeaderValue::from_static("14")),
    };
    let code = status.map_or(Code::Ok, |it| Code::from_bytes(it.as_bytes()));
    if is_failure(code) {
        fail(&span, &code);
    }
    answer
}

/// A failure of ours, not a refusal of what a caller asked.
pub fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Internal
            | Code::Unknown
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::DataLoss
    )
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
