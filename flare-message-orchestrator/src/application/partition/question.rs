//! What the owner asks of others, as telemetry sees it: for whom, how long, and what came of it.

use std::{fmt::Display, time::Instant};

use bytes::Bytes;
use flare_server_core::telemetry::{About, Done, Spans, TraceId};
use tracing::Span;

use super::telemetry::{InHand, Telemetry};
use crate::domain::owner::{Output, Owner};

/// A question on its way.
pub(super) struct Question {
    operation: &'static str,
    partition: u32,
    began: Instant,
    /// Events, rows, memberships or messages that it is about.
    count: usize,
    /// Of the first command that waits for the answer; may be empty.
    trace_id: Bytes,
    /// The commands that wait and whose traces are sampled.
    sampled: Vec<InHand>,
}

impl Question {
    /// Of an output that wants an answer from outside; None: the output is no such.
    pub(super) fn of(
        output: &Output,
        owner: &Owner,
        telemetry: &Telemetry,
        partition: u32,
    ) -> Option<Self> {
        let (operation, number, count) = match output {
            Output::Append { append, events, .. } => ("orchestrator.append", *append, *events),
            Output::Read { read, request } => {
                let count = request.heads.len() + request.ids.len() + request.targets.len();
                ("orchestrator.read_store", *read, count)
            }
            Output::Authorise { ask, items, .. } => ("orchestrator.authorise", *ask, items.len()),
            Output::AskHooks { hook, .. } => ("orchestrator.hooks", *hook, 1),
            _ => return None,
        };
        let first = owner.waiting_for(number).next();
        Some(Self {
            operation,
            partition,
            began: Instant::now(),
            count,
            trace_id: first.map(|it| it.trace_id.clone()).unwrap_or_default(),
            sampled: telemetry.in_hand(owner.waiting_for(number)),
        })
    }

    /// The span of the command that a question about one is part of; disabled if its trace is not sampled.
    pub(super) fn span(&self) -> Span {
        match &self.sampled[..] {
            [only] => only.span.clone(),
            _ => Span::none(),
        }
    }

    /// The answer is there; `error`: why it is none.
    pub(super) fn answered(self, spans: &Spans, error: Option<&dyn Display>) {
        let about = [
            ("partition", About::Number(self.partition.into())),
            ("count", About::Number(self.count as u64)),
        ];
        let done = Done {
            trace: TraceId::from_slice(&self.trace_id),
            operation: self.operation,
            took: self.began.elapsed(),
            about: &about,
            error,
        };
        for InHand { trace, span } in &self.sampled {
            let trace = Some(*trace);
            spans.record(span, &Done { trace, ..done });
        }
        spans.report(&done);
    }
}
