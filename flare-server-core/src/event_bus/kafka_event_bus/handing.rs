//! What is being done with the records in hand.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Sleep;

use super::delivery::Delivery;
use crate::error::Refusal;
use crate::event_bus::burying::Burying;
use crate::event_bus::{BusRecord, Handled};

/// What is being done.
pub(super) enum Doing {
    /// Nothing, and nothing is asked for.
    Nothing,
    /// A batch is asked for.
    Asked,
    /// The handler has the records.
    Handling(BoxFuture<'static, Did>),
    /// The record of this index goes to the dead letters.
    Burying(BoxFuture<'static, bool>, usize),
    /// The records come again after a pause.
    Pausing(Pin<Box<Sleep>>),
}

/// What was done.
pub(super) enum Did {
    /// The handler answered.
    Handled(Handled),
    /// The handler was to be told that its records have changed, and panicked.
    Untold,
    /// Whether the record of this index is among the dead letters; if not, the subscription ends.
    Buried(bool, usize),
    /// The pause is over.
    Paused,
}

impl Doing {
    /// Waits for what is being done. Safe to cancel.
    pub(super) async fn done(&mut self) -> Did {
        match self {
            Self::Nothing | Self::Asked => futures::future::pending().await,
            Self::Handling(handling) => handling.await,
            Self::Burying(burying, index) => Did::Buried(burying.await, *index),
            Self::Pausing(pause) => {
                pause.await;
                Did::Paused
            }
        }
    }

    /// Whether the outcome of the records in hand is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Handling(_) | Self::Burying(..))
    }
}

impl Delivery {
    /// Gives records to the handler, and tells it before, if it is to be told, that its records have changed.
    pub(super) fn handle(&self, records: &Arc<[BusRecord]>, tell: bool) -> Doing {
        let (handler, records) = (self.handler.clone(), records.clone());
        let (topic, group) = (self.topic.name.clone(), self.group.clone());
        Doing::Handling(Box::pin(async move {
            let told = async {
                if tell {
                    handler.reassigned().await;
                }
            };
            if AssertUnwindSafe(told).catch_unwind().await.is_err() {
                tracing::error!(
                    topic,
                    group,
                    "a handler panicked when it was told that its records have changed"
                );
                return Did::Untold;
            }
            let handled = AssertUnwindSafe(handler.handle(&records))
                .catch_unwind()
                .await;
            Did::Handled(handled.unwrap_or_else(|_| {
                tracing::error!(topic, group, "a handler panicked; its batch comes again");
                Handled::Retry
            }))
        }))
    }

    /// Puts a record that was rejected among the dead letters.
    pub(super) fn bury(&self, record: BusRecord, index: usize, reason: String) -> Doing {
        let (topic, group) = (self.topic.name.clone(), self.group.clone());
        let (bus, stop) = (self.bus.clone(), self.stop.clone());
        let burying = async move {
            let burying = Burying {
                topic: &topic,
                group: &group,
                retry: bus.options.retry,
                stop: &stop,
            };
            let bus = &bus;
            let publish =
                |topic: String, records| async move { bus.publish(&topic, records).await };
            burying.bury(record, reason, publish).await
        };
        Doing::Burying(Box::pin(burying), index)
    }

    /// Has the handler write what it holds.
    pub(super) fn flush(&self) -> BoxFuture<'static, Result<(), Refusal>> {
        let handler = self.handler.clone();
        Box::pin(async move {
            let flushed = AssertUnwindSafe(handler.flush()).catch_unwind().await;
            flushed.unwrap_or_else(|_| Err(Refusal::internal("a handler panicked")))
        })
    }
}
