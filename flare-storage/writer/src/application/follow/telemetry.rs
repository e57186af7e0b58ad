//! What is told of commits.

use std::time::Duration;

use flare_server_core::telemetry::{Batch, EventPlace, Spans};

use crate::domain::fold::Step;

/// This was committed, and can be read.
pub(super) fn committed(spans: &Spans, step: &Step, took: Duration) {
    let (partition, events) = (step.batch.partition, &step.batch.events);
    let mut batch = Batch::new(spans);
    for event in events {
        let header = event.header();
        batch.add(&header.trace_id, || EventPlace {
            conversation: header.conversation_id.clone(),
            seq: header.seq,
            message_id: header.message_id.clone(),
        });
    }
    batch.step("storage_writer.commit", took, None);
    metrics::histogram!("flare_storage_writer_commit_seconds").record(took.as_secs_f64());
    metrics::counter!("flare_storage_writer_events_total").increment(events.len() as u64);
    for (offset, reason) in &step.skipped {
        metrics::counter!("flare_storage_writer_skipped_records_total", "reason" => reason.label())
            .increment(1);
        tracing::debug!(partition, offset, %reason, "record passed over");
    }
}
