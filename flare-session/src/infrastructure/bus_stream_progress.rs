//! How far the stream is taken in, as the event bus knows it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::{
    error::Refusal,
    event_bus::{EventBus, SubscribeError},
};

use crate::application::ports::StreamProgress;

/// A stream that lags behind further than this is not waited for.
const DEADLINE: Duration = Duration::from_secs(5);
/// When to ask again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The progress of a group in a topic.
pub struct BusStreamProgress {
    /// The platform's: a request that outlives it must not keep it open.
    bus: Weak<dyn EventBus>,
    topic: &'static str,
    group: &'static str,
}

impl BusStreamProgress {
    /// Of this group in this topic.
    pub fn new(bus: &Arc<dyn EventBus>, topic: &'static str, group: &'static str) -> Self {
        Self {
            bus: Arc::downgrade(bus),
            topic,
            group,
        }
    }
}

#[async_trait]
impl StreamProgress for BusStreamProgress {
    async fn caught_up(&self) -> Result<(), Refusal> {
        let bus = self.bus.upgrade().ok_or_else(closed)?;
        in_time(self.topic, bus.caught_up(self.topic, self.group)).await
    }
}

/// The process is about to end, or has hardly begun.
pub(super) fn closed() -> Refusal {
    Refusal::unavailable("the service does not follow the stream", RETRY_AFTER)
}

/// Gives it up where the stream lags behind too far.
pub(super) async fn in_time(
    topic: &str,
    caught_up: impl Future<Output = Result<(), SubscribeError>>,
) -> Result<(), Refusal> {
    match tokio::time::timeout(DEADLINE, caught_up).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Refusal::unavailable(error.to_string(), RETRY_AFTER)),
        Err(_) => Err(Refusal::unavailable(
            format!("{topic} lags behind by more than {DEADLINE:?}"),
            RETRY_AFTER,
        )),
    }
}
