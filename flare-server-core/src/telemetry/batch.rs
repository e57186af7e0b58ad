//! Events that go through steps together.

use std::{fmt::Display, time::Duration};

use tracing::Span;

use super::{
    spans::{About, Done, Spans},
    trace_id::TraceId,
};

/// Events that go through a service's steps together, as telemetry sees them: each event of a sampled trace gets a span for each step, as
/// long as the step of all. For any other it costs a look at its trace id, and without a collector not even that.
#[derive(Debug)]
pub struct Batch<'a> {
    spans: &'a Spans,
    count: u64,
    /// Of the first event that has one: a step that fails or is slow is reported once.
    first: Option<TraceId>,
    sampled: Vec<(TraceId, EventPlace)>,
}

/// By what an event is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// Its conversation's id.
    pub conversation: String,
    /// Its number there.
    pub seq: u64,
    /// Its own id.
    pub message_id: String,
}

impl<'a> Batch<'a> {
    /// Without events.
    pub fn new(spans: &'a Spans) -> Self {
        Self {
            spans,
            count: 0,
            first: None,
            sampled: Vec::new(),
        }
    }

    /// One more event. It is only asked for its place if its trace is sampled.
    pub fn add(&mut self, trace_id: &[u8], place: impl FnOnce() -> EventPlace) {
        self.count += 1;
        self.first = self.first.or_else(|| TraceId::from_slice(trace_id));
        if let Some(trace) = self.spans.sampled(trace_id) {
            self.sampled.push((trace, place()));
        }
    }

    /// A step of all of them has just ended. `error`: why it failed.
    pub fn step(&self, operation: &'static str, took: Duration, error: Option<&dyn Display>) {
        for (trace, place) in &self.sampled {
            let done = Done {
                trace: Some(*trace),
                operation,
                took,
                about: &[
                    ("conversation", About::Text(&place.conversation)),
                    ("seq", About::Number(place.seq)),
                    ("message_id", About::Text(&place.message_id)),
                    ("count", About::Number(self.count)),
                ],
                error,
            };
            self.spans.record(&Span::none(), &done);
        }
        self.spans.report(&Done {
            trace: self.first,
            operation,
            took,
            about: &[("count", About::Number(self.count))],
            error,
        });
    }
}
