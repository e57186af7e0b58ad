//! What is told of a call that a client makes.

use std::{fmt::Display, future::Future};

use flare_server_core::{
    error::{Refusal, grpc_code},
    telemetry::{About, Done, Spans, TraceId, is_failure},
};
use tokio::time::Instant;
use tracing::{Instrument, Span};

const OPERATION: &str = "access_gateway.call";

/// A call under way.
pub(super) struct ToldCall {
    trace: TraceId,
    began: Instant,
    span: Span,
}

impl ToldCall {
    /// A frame asks for it.
    pub(super) fn begins(spans: &Spans, trace: TraceId, method: &str) -> Self {
        Self {
            trace,
            began: Instant::now(),
            span: spans.open(trace, || tracing::info_span!("access_gateway.call", method)),
        }
    }

    /// Makes it, and tells of its end. What other services do for it is part of its span.
    pub(super) async fn until<T>(
        self,
        call: impl Future<Output = Result<T, Refusal>>,
        spans: &Spans,
        method: &str,
    ) -> Result<T, Refusal> {
        let answer = call.instrument(self.span.clone()).await;
        let refusal = answer.as_ref().err();
        let failure = refusal.filter(|it| is_failure(grpc_code(it.code)));
        let done = Done {
            trace: Some(self.trace),
            operation: OPERATION,
            took: self.began.elapsed(),
            about: &[("method", About::Text(method))],
            error: failure.map(|it| it as &dyn Display),
        };
        spans.end(self.span, &done);
        answer
    }
}
