use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::FutureExt;
use metrics::Gauge;
use tokio_util::sync::CancellationToken;

use super::burying::Burying;
use super::embedded_event_bus::Bus;
use super::group::Group;
use super::topic::Topic;
use super::{BatchHandler, BusRecord, Handled, TopicView, ViewError};
use crate::error::Refusal;

/// Gives the records of a topic to a group's handler, one batch after the other.
pub(super) struct Delivery {
    pub(super) bus: Arc<Bus>,
    pub(super) topic: Arc<Topic>,
    pub(super) group: Arc<Group>,
    pub(super) handler: Arc<dyn BatchHandler>,
    pub(super) stop: CancellationToken,
}

/// Asked to stop.
struct Stopped;

impl Delivery {
    pub(super) async fn run(self) {
        let started = async { (self.group.turn.lock().await, self.topic.content().await) };
        let Some((_turn, content)) = self.stop.run_until_cancelled(started).await else {
            return;
        };
        self.group.resume(content.floor());
        let lag = metrics::gauge!(
            "flare_event_bus_lag",
            "topic" => self.topic.name.clone(),
            "group" => self.group.name.clone()
        );
        let mut run = Run {
            delivery: &self,
            content,
            lag,
            pauses: self.bus.options.retry.build(),
        };
        self.keep().await;
        // Whoever had the turn before was given records meanwhile.
        self.handler.reassigned().await;
        let ended = CancellationToken::new();
        let handing_over = async {
            while !self.stop.is_cancelled() && run.step().await.is_ok() {}
            ended.cancel();
        };
        tokio::join!(handing_over, self.keep_now_and_then(&ended));
        self.keep().await;
    }

    /// Keeps the group's position so often as is configured, while it moves. What is handed over meanwhile does not wait for it.
    async fn keep_now_and_then(&self, ended: &CancellationToken) {
        loop {
            let due = async {
                self.group.is_to_be_kept().await;
                tokio::time::sleep(self.bus.options.keep_cursor_every).await;
            };
            if ended.run_until_cancelled(due).await.is_none() {
                return;
            }
            self.keep().await;
        }
    }

    /// Has the position survive a crash as far as the handler has flushed, and frees what all groups have passed.
    async fn keep(&self) {
        let (topic, group) = (&self.topic.name, &self.group);
        if let Some(reached) = group.reached().filter(|_| !group.is_flushed()) {
            match self.flush().await {
                Ok(()) => group.flushed_up_to(reached),
                Err(refusal) => {
                    tracing::warn!(topic, group = group.name, %refusal, "a handler could not write what it holds; the position stays");
                }
            }
        }
        if let Err(error) = match group.keep().await {
            Ok(()) => self.topic.trim().await,
            failed => failed,
        } {
            tracing::warn!(topic, group = group.name, %error, "the position of a group could not be kept");
        }
    }

    async fn flush(&self) -> Result<(), Refusal> {
        let flushed = AssertUnwindSafe(self.handler.flush()).catch_unwind().await;
        flushed.unwrap_or_else(|_| Err(Refusal::internal("a handler panicked")))
    }
}

/// A subscription whose turn it is.
struct Run<'a> {
    delivery: &'a Delivery,
    content: Arc<dyn TopicView>,
    lag: Gauge,
    /// The pauses between tries of what fails; fresh after each success.
    pauses: ExponentialBackoff,
}

impl Run<'_> {
    /// One batch, or a wait for one.
    async fn step(&mut self) -> Result<(), Stopped> {
        let from = self.delivery.group.reached().unwrap_or(0);
        self.show_lag();
        let read = match self
            .content
            .read(from, self.delivery.bus.options.batch_records)
            .await
        {
            Ok(read) => read,
            Err(error) => return self.cannot_read(from, error).await,
        };
        if read.records.is_empty() && read.next <= from {
            return self.wait(from).await;
        }
        self.hand_over(&read.records).await?;
        self.delivery.group.advance(read.next);
        Ok(())
    }

    async fn wait(&mut self, from: u64) -> Result<(), Stopped> {
        tokio::select! {
            () = self.delivery.stop.cancelled() => Err(Stopped),
            more = self.content.wait_beyond(from) => match more {
                Ok(()) => Ok(()),
                Err(error) => self.cannot_read(from, error).await,
            },
        }
    }

    async fn cannot_read(&mut self, from: u64, error: ViewError) -> Result<(), Stopped> {
        let (topic, group) = (&self.delivery.topic.name, &self.delivery.group.name);
        match error {
            ViewError::Closed => Err(Stopped),
            ViewError::Trimmed { floor } if floor > from => {
                tracing::error!(
                    topic,
                    group,
                    from,
                    floor,
                    "records were removed by retention before the group had handled them",
                );
                metrics::counter!(
                    "flare_event_bus_passed_over_total",
                    "topic" => topic.clone(),
                    "group" => group.clone()
                )
                .increment(floor - from);
                self.delivery.group.advance(floor);
                Ok(())
            }
            error => {
                tracing::warn!(topic, group, from, %error, "the topic cannot be read");
                self.pause().await
            }
        }
    }

    /// Returns when the handler has handled or rejected all of them.
    async fn hand_over(&mut self, records: &[BusRecord]) -> Result<(), Stopped> {
        let mut rest = records;
        while !rest.is_empty() {
            match self.handle(rest).await {
                Handled::Ok => rest = &[],
                Handled::Reject { index, reason } if index < rest.len() => {
                    self.bury(&rest[index], reason).await?;
                    self.delivery.group.advance(rest[index].position + 1);
                    rest = &rest[index + 1..];
                }
                Handled::Retry | Handled::Reject { .. } => {
                    self.pause().await?;
                    self.show_lag();
                    continue;
                }
            }
            self.pauses = self.delivery.bus.options.retry.build();
            if !rest.is_empty() && self.delivery.stop.is_cancelled() {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let handled = AssertUnwindSafe(self.delivery.handler.handle(batch))
            .catch_unwind()
            .await;
        handled.unwrap_or_else(|_| {
            tracing::error!(
                topic = self.delivery.topic.name,
                group = self.delivery.group.name,
                "a handler panicked; its batch comes again",
            );
            Handled::Retry
        })
    }

    /// Returns when a record that was rejected is among the dead letters.
    async fn bury(&self, record: &BusRecord, reason: String) -> Result<(), Stopped> {
        let Delivery {
            bus,
            topic,
            group,
            stop,
            ..
        } = self.delivery;
        let burying = Burying {
            topic: &topic.name,
            group: &group.name,
            retry: bus.options.retry,
            stop,
        };
        let publish = |topic: String, records| async move { bus.publish(&topic, records).await };
        match burying.bury(record.clone(), reason, publish).await {
            true => Ok(()),
            false => Err(Stopped),
        }
    }

    async fn pause(&mut self) -> Result<(), Stopped> {
        let pause = self.pauses.next().unwrap_or(Duration::from_secs(1));
        let paused = self
            .delivery
            .stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await;
        paused.ok_or(Stopped)
    }

    fn show_lag(&self) {
        let reached = self.delivery.group.reached().unwrap_or(0);
        self.lag
            .set(self.content.end().saturating_sub(reached) as f64);
    }
}

/// Tries that fail are repeated after 50 ms, then ever more slowly, at most after 10 s.
pub(super) fn default_retry() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
}
