//! How a process ends: drained on the first signal, or at once when something it must not outlive has failed.

use std::{future::Future, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Asks every task to drain and end. Clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: CancellationToken,
    fatal: Arc<watch::Sender<Option<String>>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self {
            drain: CancellationToken::new(),
            fatal: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Asks for a drain.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Whether a drain was asked for.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when a drain is asked for. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// A token that is cancelled with the drain, for code that takes one.
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// The process must end now, without a drain: what it holds in memory can no longer be trusted (a write to the log failed).
    /// The first reason stands.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(%reason, "fatal: the process ends");
        self.fatal.send_if_modified(|it| {
            let first = it.is_none();
            if first {
                *it = Some(reason);
            }
            first
        });
    }

    /// Resolves with the reason when something fatal happened. Cancel safe.
    pub async fn failed(&self) -> String {
        let mut watch = self.fatal.subscribe();
        let reason = watch
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|it| it.clone());
        match reason {
            Some(reason) => reason,
            // Cannot be: the sender lives in self.
            None => std::future::pending().await,
        }
    }

    /// Runs `work` until it ends or a drain is asked for; None: drained.
    pub async fn or_drain<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.drain.run_until_cancelled(work).await
    }
}
