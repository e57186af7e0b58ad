//! What a partition's task tells of its work.

use std::{collections::HashMap, time::Duration};

use flare_server_core::telemetry::{Spans, TraceId};
use flare_storage_model::SkipReason;
use metrics::{Gauge, counter, gauge, histogram};
use tracing::Span;

use crate::{
    application::streams::Receipt,
    domain::command::{Command, Origin},
};

pub(super) struct Telemetry {
    spans: Spans,
    /// Of commands in hand whose traces are sampled, by stream and correlation.
    open: HashMap<(u64, u64), Span>,
    pending: Gauge,
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
            let Some(trace) =
                TraceId::from_slice(&command.trace_id).filter(|it| self.spans.is_sampled(*it))
            else {
                continue;
            };
            let conversation = &command.conversation.conversation;
            let span = self.spans.open(trace, || tracing::info_span!("orchestrate", %conversation, client_id = %command.client_id));
            self.open
                .insert((command.origin.stream, command.origin.correlation), span);
        }
    }

    /// A command has its answer.
    pub(super) fn answered(&mut self, origin: Origin, receipt: &Receipt) {
        if !self.open.is_empty() {
            self.open.remove(&(origin.stream, origin.correlation));
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

    /// A group was decided.
    pub(super) fn decided(&self, events: usize, took: Duration) {
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
