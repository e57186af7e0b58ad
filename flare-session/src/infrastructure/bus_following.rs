//! The whole of the stream, for the heads of a process that is not alone.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use flare_server_core::{
    error::Refusal,
    event_bus::{EventBus, Follower, Following, SubscribeError},
    shutdown::Shutdown,
};
use tokio::sync::RwLock;

use super::bus_stream_progress::{BusStreamProgress, closed, in_time};
use crate::application::ports::StreamProgress;

/// Follows a topic, and knows how far it and a group of several processes are.
pub struct BusFollowing {
    bus: Weak<dyn EventBus>,
    topic: &'static str,
    group: BusStreamProgress,
    /// Once it has begun, until it ends.
    following: RwLock<Option<Arc<Following>>>,
}

impl BusFollowing {
    /// Of this topic, beside this group.
    pub fn new(bus: &Arc<dyn EventBus>, topic: &'static str, group: &'static str) -> Self {
        Self {
            bus: Arc::downgrade(bus),
            topic,
            group: BusStreamProgress::new(bus, topic, group),
            following: RwLock::default(),
        }
    }

    /// Begins so many records before the end, and returns when they are taken, or when the process drains.
    pub async fn begin(
        &self,
        behind: u64,
        follower: Arc<dyn Follower>,
        shutdown: &Shutdown,
    ) -> Result<(), SubscribeError> {
        let bus = self.bus.upgrade();
        let bus = bus.ok_or_else(|| SubscribeError::Closed(self.topic.to_owned()))?;
        let following = Arc::new(bus.follow(self.topic, behind, follower).await?);
        *self.following.write().await = Some(Arc::clone(&following));
        shutdown
            .or_drain(following.caught_up())
            .await
            .unwrap_or(Ok(()))
    }

    /// Nothing is taken any more.
    pub async fn end(&self) {
        let following = self.following.write().await.take();
        // Who waits for it has it a moment longer, and ends it then.
        if let Some(following) = following.and_then(Arc::into_inner) {
            following.shutdown().await;
        }
    }

    async fn has_taken_all(&self) -> Result<(), Refusal> {
        let following = self.following.read().await.clone();
        let following = following.ok_or_else(closed)?;
        in_time(self.topic, following.caught_up()).await
    }
}

#[async_trait]
impl StreamProgress for BusFollowing {
    async fn caught_up(&self) -> Result<(), Refusal> {
        tokio::try_join!(self.group.caught_up(), self.has_taken_all()).map(drop)
    }
}
