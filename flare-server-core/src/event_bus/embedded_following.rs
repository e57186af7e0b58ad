//! Gives a follower the records of a topic.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::embedded_event_bus::Bus;
use super::topic::Topic;
use super::{Ends, Follower, Frontier, SubscribeError, TopicView, ViewError};

/// From where it begins to its end.
pub(super) struct Follow {
    pub(super) bus: Arc<Bus>,
    pub(super) topic: Arc<Topic>,
    /// What there was when it was asked for, and where in it to begin; none: a view is awaited, all of which comes after that.
    pub(super) begins: Option<u64>,
    pub(super) behind: u64,
    pub(super) follower: Arc<dyn Follower>,
    pub(super) reached: watch::Sender<Option<Frontier>>,
    pub(super) stop: CancellationToken,
}

/// Where to begin in what is there.
pub(super) fn beginning(content: &dyn TopicView, behind: u64) -> u64 {
    content.end().saturating_sub(behind).max(content.floor())
}

impl Follow {
    pub(super) async fn run(self) {
        let giving = async { self.give(self.topic.content().await.as_ref()).await };
        self.stop.run_until_cancelled(giving).await;
    }

    async fn give(&self, content: &dyn TopicView) {
        let mut from = self
            .begins
            .unwrap_or_else(|| beginning(content, self.behind));
        let mut pauses = self.bus.options.retry.build();
        self.begin(from);
        while !self.stop.is_cancelled() {
            let read = content.read(from, self.bus.options.batch_records).await;
            match read {
                Ok(read) if read.records.is_empty() && read.next <= from => {
                    if content.wait_beyond(from).await.is_err() {
                        return;
                    }
                }
                Ok(read) => {
                    if !read.records.is_empty() {
                        self.follower.take(&read.records);
                    }
                    from = read.next;
                    self.reached.send_replace(Some(Frontier::single(from)));
                    pauses = self.bus.options.retry.build();
                }
                Err(ViewError::Closed) => return,
                Err(ViewError::Trimmed { floor }) if floor > from => {
                    from = floor;
                    self.begin(from);
                }
                Err(error) => {
                    tracing::warn!(topic = self.topic.name, from, %error, "the topic cannot be read");
                    pause(&mut pauses).await;
                }
            }
        }
    }

    fn begin(&self, from: u64) {
        let at = Frontier::single(from);
        self.follower.begins(&at);
        self.reached.send_replace(Some(at));
    }
}

async fn pause(pauses: &mut ExponentialBackoff) {
    tokio::time::sleep(pauses.next().unwrap_or(Duration::from_secs(1))).await;
}

#[async_trait]
impl Ends for Topic {
    async fn end(&self) -> Result<Frontier, SubscribeError> {
        Ok(Frontier::single(self.content().await.end()))
    }
}
