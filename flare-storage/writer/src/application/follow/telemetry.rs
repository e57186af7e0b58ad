//! What is told of commits.

use std::time::Duration;

use flare_server_core::telemetry::{Batch, EventPlace, Spans};
use flare_storage_model::LoggedEvent;

/// These events were committed together, and can be read.
pub(super) fn committed(spans: &Spans, events: &[LoggedEvent], took: Duration) {
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
}
