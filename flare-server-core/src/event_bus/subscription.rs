use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A handler's place in a group. Dropping it ends the subscription: a batch in hand is finished,
/// and no other begun.
#[derive(Debug)]
pub struct Subscription {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Subscription {
    /// For adapters: `task` ends soon after `stop` is cancelled.
    pub fn new(stop: CancellationToken, task: JoinHandle<()>) -> Self {
        Self {
            stop,
            task: Some(task),
        }
    }

    /// Ends the subscription and waits until the batch in hand is handled and the group's position
    /// is kept.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // A task that was aborted with its runtime has nothing more to finish.
            drop(task.await);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
