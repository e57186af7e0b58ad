//! Which spans are made.

use std::{
    fmt,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, SystemTime},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use metrics::counter;
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags,
    trace::{Span as _, SpanContext, Status, TraceContextExt, TraceState, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::trace_id::{Share, TraceId};

/// So many failures, and so many slow operations, are told each second: under overload everything is slow, and a server that told of all of it
/// would spend a third of its time on its own words.
const TOLD_PER_S: NonZeroU32 = NonZeroU32::new(20).expect("not zero");

/// Opens spans for the traces that are sampled, and for nothing else: ten spans a message would cost more than the message.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    share: Share,
    slow: Duration,
    told: Arc<Told>,
    /// Takes the spans to the collector; None: there is none, and no span is made.
    tracer: Option<SdkTracer>,
}

/// What may still be told at the moment.
#[derive(Debug)]
struct Told {
    failed: DefaultDirectRateLimiter,
    slow: DefaultDirectRateLimiter,
}

impl Default for Told {
    fn default() -> Self {
        let limit = || RateLimiter::direct(Quota::per_second(TOLD_PER_S));
        Self {
            failed: limit(),
            slow: limit(),
        }
    }
}

/// An operation that has just ended.
#[derive(Clone, Copy)]
pub struct Done<'a> {
    /// The trace it belongs to; None: nobody's. Of a batch, the first that has one.
    pub trace: Option<TraceId>,
    /// Its name, from a small set.
    pub operation: &'static str,
    /// How long it took.
    pub took: Duration,
    /// On what. Sizes are bounded: ids and numbers.
    pub about: &'a [(&'static str, About<'a>)],
    /// Why it failed: a failure of ours, not a refusal of what a caller asked.
    pub error: Option<&'a dyn fmt::Display>,
}

/// An attribute of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// An id, or a name from a small set.
    Text(&'a str),
    /// A seq, or how many.
    Number(u64),
}

impl Spans {
    pub(super) fn new(ratio: f64, slow: Duration, tracer: Option<SdkTracer>) -> Self {
        Self {
            share: Share::of(ratio),
            slow,
            told: Arc::default(),
            tracer,
        }
    }

    /// Whether spans are made for this trace.
    pub fn is_sampled(&self, trace: TraceId) -> bool {
        self.tracer.is_some() && self.share.has(trace)
    }

    /// The trace with these bytes, if it is one and spans are made for it. Without a collector the bytes are not looked at.
    pub fn sampled(&self, trace_id: &[u8]) -> Option<TraceId> {
        self.tracer.as_ref()?;
        TraceId::from_slice(trace_id).filter(|it| self.share.has(*it))
    }

    /// The span that `open` makes, such as `|| tracing::info_span!("rpc")`, as part of `trace`; a disabled one, and no call of `open`, if
    /// the trace is not sampled. Spans opened inside it are of the same trace.
    pub fn open(&self, trace: TraceId, open: impl FnOnce() -> Span) -> Span {
        if !self.is_sampled(trace) {
            return Span::none();
        }
        let span = open();
        if let Err(error) = span.set_parent(origin(trace)) {
            tracing::debug!(%error, trace_id = %trace, "span without its trace");
        }
        span
    }

    /// Ends a span that was opened for an operation, marks it if that failed, and reports it.
    pub fn end(&self, span: Span, done: &Done<'_>) {
        if let Some(error) = done.error {
            fail(&span, error);
        }
        drop(span);
        self.report(done);
    }

    /// Makes the span of an operation afterwards, if its trace is sampled: for one of the events, say, that went through a step together.
    /// It is part of `within`, or if that is disabled of the trace itself.
    pub fn record(&self, within: &Span, done: &Done<'_>) {
        let Some(trace) = done.trace.filter(|it| self.is_sampled(*it)) else {
            return;
        };
        let parent = if within.is_disabled() {
            origin(trace)
        } else {
            within.context()
        };
        self.make(&parent, done);
    }

    /// Tells of an operation that failed or was slow: a log line, and a span if the trace is not sampled (if it is, it has its own).
    /// Anything else is passed over. Where too many come at once, some are counted alone.
    pub fn report(&self, done: &Done<'_>) {
        let (why, told) = match done.error {
            Some(_) => ("failed", &self.told.failed),
            None if done.took >= self.slow && !self.slow.is_zero() => ("slow", &self.told.slow),
            None => return,
        };
        if told.check().is_err() {
            counter!("flare_operations_untold_total", "operation" => done.operation, "why" => why)
                .increment(1);
            return;
        }
        let took_ms = u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX);
        let trace_id = done.trace.map(tracing::field::display);
        let (operation, about) = (done.operation, Described(done.about));
        match done.error {
            Some(error) => tracing::error!(trace_id, operation, took_ms, %about, %error, "failed"),
            None => tracing::warn!(trace_id, operation, took_ms, %about, "slow"),
        }
        if let Some(trace) = done.trace.filter(|it| !self.is_sampled(*it)) {
            self.make(&origin(trace), done);
        }
    }

    fn make(&self, parent: &Context, done: &Done<'_>) {
        let Some(tracer) = &self.tracer else {
            return;
        };
        let ended = now();
        let attributes = done.about.iter().map(|(name, about)| match about {
            About::Text(text) => KeyValue::new(*name, (*text).to_owned()),
            About::Number(number) => {
                KeyValue::new(*name, i64::try_from(*number).unwrap_or(i64::MAX))
            }
        });
        let mut span = tracer
            .span_builder(done.operation)
            .with_start_time(ended.checked_sub(done.took).unwrap_or(ended))
            .with_attributes(attributes)
            .start_with_context(tracer, parent);
        if let Some(error) = done.error {
            span.set_status(Status::error(error.to_string()));
        }
        span.end_with_timestamp(ended);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "spans that are opened are timed by the machine's clock, and so are those that are made afterwards"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Marks a span as that of an operation that failed.
pub fn fail(span: &Span, error: &dyn fmt::Display) {
    if !span.is_disabled() {
        span.set_status(Status::error(error.to_string()));
    }
}

/// The client's span, of which only the trace is known: OpenTelemetry wants a span id too, and it is the same in every process.
fn origin(trace: TraceId) -> Context {
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

/// `conversation=c1 seq=7`
struct Described<'a>(&'a [(&'static str, About<'a>)]);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, about)) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            match about {
                About::Text(text) => write!(f, "{space}{name}={text}")?,
                About::Number(number) => write!(f, "{space}{name}={number}")?,
            }
        }
        Ok(())
    }
}
