//! A bus that keeps one topic in memory, and what each process has of it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::event_bus::{
    BatchHandler, EventBus, Follower, Following, PublishError, RegisterError, SubscribeError,
    Subscription, TopicView,
};
use tokio::sync::watch;

/// Keys and payloads, as they were published.
pub(crate) type Topic = Arc<watch::Sender<Vec<(Bytes, Bytes)>>>;

/// The bus as one process has it.
pub(crate) struct Connection {
    topic: Topic,
    /// Nothing gets there while it is so.
    pub(crate) held: watch::Sender<bool>,
    /// The next batch ends as unknown after so many records.
    pub(crate) break_after: Mutex<Option<usize>>,
    /// Each batch fails.
    pub(crate) down: watch::Sender<bool>,
    /// Batches that have been given to it.
    pub(crate) given: watch::Sender<usize>,
}

impl Connection {
    pub(crate) fn new(topic: &Topic) -> Arc<Self> {
        Arc::new(Self {
            topic: Arc::clone(topic),
            held: watch::Sender::new(false),
            break_after: Mutex::default(),
            down: watch::Sender::new(false),
            given: watch::Sender::new(0),
        })
    }
}

fn unknown(topic: &str) -> PublishError {
    PublishError::Unknown {
        topic: topic.to_owned(),
        reason: "broken".to_owned(),
    }
}

#[async_trait]
impl EventBus for Connection {
    async fn publish_batch(
        &self,
        topic: &str,
        records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError> {
        assert_eq!(topic, "flare.im.message.persisted");
        self.given.send_modify(|it| *it += 1);
        let free = self.held.subscribe().wait_for(|held| !held).await.is_ok();
        if !free || *self.down.borrow() {
            return Err(unknown(topic));
        }
        let broken = self.break_after.lock().unwrap().take();
        let count = broken.map_or(records.len(), |it| it.min(records.len()));
        for record in records.into_iter().take(count) {
            // Others' records come in between.
            self.topic.send_modify(|it| it.push(record));
            tokio::task::yield_now().await;
        }
        broken.map_or(Ok(()), |_| Err(unknown(topic)))
    }

    async fn subscribe(
        &self,
        topic: &str,
        _group: &str,
        _handler: Arc<dyn BatchHandler>,
    ) -> Result<Subscription, SubscribeError> {
        Err(SubscribeError::Closed(topic.to_owned()))
    }

    async fn follow(
        &self,
        topic: &str,
        _behind: u64,
        _follower: Arc<dyn Follower>,
    ) -> Result<Following, SubscribeError> {
        Err(SubscribeError::Closed(topic.to_owned()))
    }

    async fn register_view(
        &self,
        topic: &str,
        _view: Arc<dyn TopicView>,
    ) -> Result<(), RegisterError> {
        Err(RegisterError::Unsupported(topic.to_owned()))
    }

    async fn lowest_cursor(&self, _topic: &str) -> Result<Option<u64>, SubscribeError> {
        Ok(None)
    }

    async fn caught_up(&self, topic: &str, _group: &str) -> Result<(), SubscribeError> {
        Err(SubscribeError::Closed(topic.to_owned()))
    }
}
