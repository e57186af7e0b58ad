//! What a partition's task tells of its work.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::telemetry::{About, Done, Spans, TraceId, fail};
use flare_storage_model::SkipReason;
use metrics::{Gauge, counter, gauge, histogram};
use tracing::Span;

use crate::{
    application::streams::Receipt,
    domain::command::{Command, Origin},
};

pub(super) struct Telemetry {
    spans: Spans,
    /// Commands in hand whose traces are sampled, by stream and correlation.
    open: HashMap<(u64, u64), InHand>,
    pending: Gauge,
}

/// A command in hand whose trace is sampled.
#[derive(Clone)]
pub(super) struct InHand {
    pub(super) trace: TraceId,
    /// From the command's coming to its answer.
    pub(super) span: Span,
}

impl Telemetry {
    pub(super) fn new(spans: Spans, partition: u32) -> Self {
        let pending =
            gauge!("flare_orchestrator_pending_commands", "partition" => partition.to_string());
        Self {
            spans,
            open: HashMap::new(),
            pending,
        }
    }

    /// Commands have come.
    pub(super) fn began(&mut self, commands: &[Command]) {
        for command in commands {
            let Some(trace) = self.spans.sampled(&command.trace_id) else {
                continue;
            };
            let conversation = &command.conversation.conversation;
            let span = self.spans.open(trace, || tracing::info_span!("orchestrator.command", %conversation, client_id = %command.client_id));
            self.open
                .insert(place(command.origin), InHand { trace, span });
        }
    }

    /// Those of the commands whose traces are sampled, each once.
    pub(super) fn in_hand<'a>(&self, commands: impl Iterator<Item = &'a Command>) -> Vec<InHand> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let sampled = commands.filter(|it| self.spans.sampled(&it.trace_id).is_some());
        let places: HashSet<_> = sampled.map(|it| place(it.origin)).collect();
        places
            .iter()
            .filter_map(|it| self.open.get(it))
            .cloned()
            .collect()
    }

    /// A command has its answer.
    pub(super) fn answered(&mut self, origin: Origin, receipt: &Receipt) {
        if !self.open.is_empty()
            && let Some(InHand { span, .. }) = self.open.remove(&place(origin))
            && let Err(refusal) = &receipt.result
            && refusal.code == ErrorCode::Internal
        {
            fail(&span, refusal);
        }
        match &receipt.result {
            Ok(placement) if placement.duplicate => {
                counter!("flare_orchestrator_duplicates_total").increment(1)
            }
            Ok(_) => {}
            Err(refusal) => {
                counter!("flare_orchestrator_refusals_total", "code" => refusal.code.as_str_name())
                    .increment(1);
            }
        }
    }

    /// A group of these commands' events was decided.
    pub(super) fn decided<'a>(
        &self,
        commands: impl Iterator<Item = &'a Command>,
        events: usize,
        took: Duration,
    ) {
        for InHand { trace, span } in self.in_hand(commands) {
            let done = Done {
                trace: Some(trace),
                operation: "orchestrator.decide",
                took,
                about: &[("count", About::Number(events as u64))],
                error: None,
            };
            self.spans.record(&span, &done);
        }
        counter!("flare_orchestrator_groups_total").increment(1);
        histogram!("flare_orchestrator_group_events").record(events as f64);
        histogram!("flare_orchestrator_decide_seconds").record(took.as_secs_f64());
    }

    pub(super) fn owned(&self) {
        counter!("flare_orchestrator_takeovers_total").increment(1);
    }

    pub(super) fn skipped(&self, reason: SkipReason) {
        counter!("flare_orchestrator_skipped_records_total", "reason" => reason.label())
            .increment(1);
    }

    pub(super) fn pending(&self, commands: usize) {
        self.pending.set(commands as f64);
    }
}

fn place(origin: Origin) -> (u64, u64) {
    (origin.stream, origin.correlation)
}
