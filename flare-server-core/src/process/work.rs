//! The tasks of a process.

use tokio::task::JoinSet;

use super::RunError;
use crate::service::{ServiceError, Task};

/// The tasks that run.
#[derive(Default)]
pub(super) struct Work {
    set: JoinSet<(&'static str, Result<(), ServiceError>)>,
    /// Their names, to say which of them did not end.
    pub(super) running: Vec<&'static str>,
}

impl Work {
    pub(super) fn spawn(&mut self, task: Task) {
        self.running.push(task.name);
        self.set.spawn(async move { (task.name, task.run.await) });
    }

    /// The next task that ends; None: there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<(), RunError>> {
        Some(match self.set.join_next().await? {
            Ok((task, ended)) => {
                if let Some(index) = self.running.iter().position(|it| *it == task) {
                    self.running.swap_remove(index);
                }
                ended.map_err(|source| RunError::Task { task, source })
            }
            Err(error) => Err(RunError::Fatal(format!("a task ended: {error}"))),
        })
    }

    /// Resolves when a task fails or panics. Tasks that end well are forgotten.
    pub(super) async fn failed(&mut self) -> RunError {
        loop {
            match self.next().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => std::future::pending().await,
            }
        }
    }
}
