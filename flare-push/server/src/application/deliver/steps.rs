//! What is told of a batch's way.

use std::time::Instant;

use flare_proto::event_view::EventView;
use flare_server_core::telemetry::{Batch, EventPlace, Spans};

use crate::{application::ports::PortError, domain::event::Event};

/// The steps of a batch, one after the other.
pub(super) struct Steps<'a> {
    batch: Batch<'a>,
    /// When the last one ended.
    since: Instant,
}

impl<'a> Steps<'a> {
    /// The first step begins.
    pub(super) fn begin(spans: &'a Spans, events: &[Event]) -> Self {
        let mut batch = Batch::new(spans);
        for event in events {
            batch.add(&event.trace_id, || EventPlace {
                conversation: event.conversation.id.clone(),
                seq: event.seq,
                message_id: EventView::read(&event.bytes)
                    .map(|it| it.message_id.to_owned())
                    .unwrap_or_default(),
            });
        }
        let since = Instant::now();
        Self { batch, since }
    }

    /// This step is done, and the next begins.
    pub(super) fn done(&mut self, operation: &'static str) {
        self.batch.step(operation, self.since.elapsed(), None);
        self.since = Instant::now();
    }

    /// Goes on with what a part of this step gave, or reports that the step failed.
    pub(super) fn or_failed<T>(
        &self,
        operation: &'static str,
        part: Result<T, PortError>,
    ) -> Result<T, PortError> {
        part.inspect_err(|error| {
            self.batch
                .step(operation, self.since.elapsed(), Some(error))
        })
    }
}
