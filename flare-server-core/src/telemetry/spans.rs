//! Which spans are made.

use std::{
    fmt::Display,
    time::{Duration, UNIX_EPOCH},
};

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags,
    trace::{Span as _, SpanContext, Status, TraceContextExt, TraceState, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace_id::TraceId;

/// Opens spans for the traces that are sampled, and for nothing else: ten spans a message would cost more than the message.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    ratio: f64,
    slow: Duration,
    /// Takes the spans to the collector; None: there is none, and no span is made.
    tracer: Option<SdkTracer>,
}

/// An operation that has ended.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its name, from a small set.
    pub operation: &'static str,
    /// When it began, in Unix milliseconds.
    pub started_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// Why it failed: a failure of ours, not a refusal of what a caller asked.
    pub error: Option<&'a dyn Display>,
}

impl Spans {
    pub(super) fn new(ratio: f64, slow: Duration, tracer: Option<SdkTracer>) -> Self {
        Self {
            ratio,
            slow,
            tracer,
        }
    }

    /// Whether spans are made for this trace.
    pub fn is_sampled(&self, trace: TraceId) -> bool {
        self.tracer.is_some() && trace.is_sampled(self.ratio)
    }

    /// The span that `open` makes, such as `|| tracing::info_span!("send")`, as part of `trace`; a disabled one, and no call of `open`, if
    /// the trace is not sampled. Spans opened inside it are of the same trace.
    pub fn open(&self, trace: TraceId, open: impl FnOnce() -> Span) -> Span {
        if !self.is_sampled(trace) {
            return Span::none();
        }
        let span = open();
        if let Err(error) = span.set_parent(parent(trace)) {
            tracing::debug!(%error, trace_id = %trace, "span without its trace");
        }
        span
    }

    /// Records an operation that failed or was slow: a log line, and a span if the trace is not sampled (if it is, it has its own).
    /// Anything else is passed over.
    pub fn report(&self, done: Done<'_>) {
        let took_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
        let (operation, trace_id) = (done.operation, done.trace);
        match done.error {
            Some(error) => tracing::error!(%trace_id, operation, took_ms, %error, "failed"),
            None if done.took >= self.slow && !self.slow.is_zero() => {
                tracing::warn!(%trace_id, operation, took_ms, "slow")
            }
            None => return,
        }
        let Some(tracer) = self.tracer.as_ref().filter(|_| !self.is_sampled(trace_id)) else {
            return;
        };
        let started =
            UNIX_EPOCH + Duration::from_millis(u64::try_from(done.started_ms).unwrap_or_default());
        let mut span = tracer
            .span_builder(operation)
            .with_start_time(started)
            .start_with_context(tracer, &parent(trace_id));
        if let Some(error) = done.error {
            span.set_attribute(KeyValue::new("error.message", error.to_string()));
            span.set_status(Status::error(error.to_string()));
        }
        span.end_with_timestamp(started + done.took);
    }
}

/// The client's span, of which only the trace is known: OpenTelemetry wants a span id too, and it is the same in every process.
fn parent(trace: TraceId) -> Context {
    let [a, b, c, d, e, f, g, h, ..] = *trace.as_bytes();
    let span = u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1);
    Context::new().with_remote_span_context(SpanContext::new(
        opentelemetry::TraceId::from_bytes(*trace.as_bytes()),
        SpanId::from(span),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    ))
}
