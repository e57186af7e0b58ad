//! Reading a topic beside all groups, and keeping nothing of how far.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::{BusRecord, Frontier, SubscribeError, Subscription};

/// Takes what comes by in a topic. It may not block.
pub trait Follower: Send + Sync + 'static {
    /// What it is given begins here: at first, and again wherever it has missed records. What it knows of earlier ones may lack what those said.
    fn begins(&self, at: &Frontier);

    /// Takes records, those of a key in their order. None comes twice, unless it [begins](Self::begins) again.
    fn take(&self, records: &[BusRecord]);
}

/// A [`Follower`] at work, until this is dropped or shut down.
#[derive(Debug)]
pub struct Following {
    subscription: Subscription,
    topic: String,
    ends: Arc<dyn Ends>,
    reached: watch::Receiver<Option<Frontier>>,
}

/// For adapters: knows where a topic ends.
#[async_trait]
pub trait Ends: Send + Sync + 'static {
    /// Where it ends, not before this call.
    async fn end(&self) -> Result<Frontier, SubscribeError>;
}

impl std::fmt::Debug for dyn Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ends")
    }
}

impl Following {
    /// For adapters: `subscription` gives the follower records, and says in `reached` which he has taken, once he has begun.
    pub fn new(
        subscription: Subscription,
        topic: &str,
        ends: Arc<dyn Ends>,
        reached: watch::Receiver<Option<Frontier>>,
    ) -> Self {
        Self {
            subscription,
            topic: topic.to_owned(),
            ends,
            reached,
        }
    }

    /// Waits until the follower has taken what is in the topic now. Bound it by a time.
    ///
    /// # Errors
    /// [`SubscribeError::Failed`], [`SubscribeError::Closed`].
    pub async fn caught_up(&self) -> Result<(), SubscribeError> {
        let end = self.ends.end().await?;
        let mut reached = self.reached.clone();
        let is_there = |it: &Option<Frontier>| it.as_ref().is_some_and(|it| it.includes(&end));
        let has_taken = reached.wait_for(is_there).await;
        has_taken
            .map(drop)
            .map_err(|_| SubscribeError::Closed(self.topic.clone()))
    }

    /// Ends it, and waits until the follower is not called any more.
    pub async fn shutdown(self) {
        self.subscription.shutdown().await;
    }
}
