//! The work on one partition: from its assignment to its revocation, a drain, or a halt.

use std::sync::Arc;

use async_trait::async_trait;
use flare_server_core::event_bus::PublishError;
use flare_storage_model::Cursor;
use tokio_util::sync::CancellationToken;

use super::{
    around::Around,
    follow::{CommitListener, FollowError, Follower},
    ports::CursorsUnavailable,
    publish::{Publisher, Publishing},
    trim::Trimmer,
};
use crate::domain::fold::Step;

/// Why a partition halted: somebody has to look, nothing was passed over.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The log cannot be applied to the store.
    #[error(transparent)]
    Follow(Box<FollowError>),
    /// The bus will never take an event.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Nobody knows from where to publish.
    #[error(transparent)]
    Cursors(#[from] CursorsUnavailable),
    /// The task has panicked.
    #[error("the task has panicked: {0}")]
    Panicked(String),
}

impl From<FollowError> for Halt {
    fn from(error: FollowError) -> Self {
        Self::Follow(Box::new(error))
    }
}

/// How what is committed comes into the public stream.
pub enum Stream {
    /// It is there when it is committed: this shows it.
    View(Arc<dyn CommitListener>),
    /// It is published.
    Published(Arc<Publishing>),
}

/// One partition.
pub(super) struct Work {
    pub(super) partition: u32,
    pub(super) around: Arc<Around>,
    pub(super) stream: Arc<Stream>,
    pub(super) trimmer: Arc<Trimmer>,
    /// Told to leave the partition.
    pub(super) stop: CancellationToken,
}

impl Work {
    /// Works until told to stop; `caught_up` is called when everything is applied that the log had at the beginning.
    pub(super) async fn run(self, caught_up: impl FnOnce() + Send) -> Result<(), Halt> {
        match &*self.stream {
            Stream::View(view) => {
                let listener = Arc::new(Told {
                    partition: self.partition,
                    shown: Arc::clone(view),
                    trimmer: Arc::clone(&self.trimmer),
                });
                let follower = self.open(listener, None).await?;
                Ok(self.follow(follower, caught_up).await?)
            }
            Stream::Published(publishing) => self.publish(publishing, caught_up).await,
        }
    }

    /// Follows the log and publishes what is committed, side by side.
    async fn publish(
        &self,
        publishing: &Arc<Publishing>,
        caught_up: impl FnOnce() + Send,
    ) -> Result<(), Halt> {
        let outages = &self.around.outages;
        let load = publishing.published.load(self.partition, outages);
        let Some(from) = self.stop.run_until_cancelled(load).await else {
            return Ok(());
        };
        let from = from?;
        let (publisher, committed) = Publisher::new(self.partition, Arc::clone(publishing));
        let listener = Arc::new(Told {
            partition: self.partition,
            shown: Arc::new(committed),
            trimmer: Arc::clone(&self.trimmer),
        });
        let ending = self.stop.child_token();
        let following = async {
            // What was committed when this is cut off is published by whoever comes next, as is what the publisher does not get any more.
            let followed = self.stop.run_until_cancelled(async {
                let follower = self.open(listener, Some(from)).await?;
                self.follow(follower, caught_up).await
            });
            let followed = followed.await.unwrap_or(Ok(()));
            ending.cancel();
            Ok::<_, Halt>(followed)
        };
        let publishing = async { Ok::<_, Halt>(publisher.run(outages, &ending).await?) };
        let (followed, ()) = tokio::try_join!(following, publishing)?;
        Ok(followed?)
    }

    async fn open(
        &self,
        listener: Arc<dyn CommitListener>,
        published: Option<Cursor>,
    ) -> Result<Follower, FollowError> {
        Follower::open(
            self.partition,
            Arc::clone(&self.around),
            listener,
            published,
        )
        .await
    }

    async fn follow(
        &self,
        mut follower: Follower,
        caught_up: impl FnOnce() + Send,
    ) -> Result<(), FollowError> {
        follower.catch_up().await?;
        caught_up();
        follower.follow(&self.stop).await?;
        // Nobody else would apply what is there; the next start would have to.
        if !self.around.log.is_shared() {
            follower.catch_up().await?;
        }
        Ok(())
    }
}

/// Shows what is committed, and says that the log may be trimmed.
struct Told {
    partition: u32,
    shown: Arc<dyn CommitListener>,
    trimmer: Arc<Trimmer>,
}

#[async_trait]
impl CommitListener for Told {
    async fn committed(&self, step: &Step) {
        self.shown.committed(step).await;
        self.trimmer.moved(self.partition);
    }
}
