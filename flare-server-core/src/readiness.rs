//! What must be so before the process answers: each part says it of itself.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The parts of a process and whether each is ready. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<Mutex<Vec<Part>>>,
}

type Part = (String, watch::Receiver<bool>);

/// One part's say. Dropped: the part is not ready any more.
#[derive(Debug)]
pub struct ReadyHandle(watch::Sender<bool>);

impl Readiness {
    /// Adds a part that is not ready yet.
    pub fn register(&self, part: impl Into<String>) -> ReadyHandle {
        let (sender, receiver) = watch::channel(false);
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((part.into(), receiver));
        ReadyHandle(sender)
    }

    /// Every part and whether it is ready.
    pub fn report(&self) -> Vec<(String, bool)> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .map(|(part, ready)| (part.clone(), *ready.borrow() && ready.has_changed().is_ok()))
            .collect()
    }

    /// Whether every part is ready.
    pub fn is_ready(&self) -> bool {
        self.report().iter().all(|(_, ready)| *ready)
    }

    /// Resolves when every part registered so far has been ready once, or with the name of a part that ended instead.
    pub async fn all_ready(&self) -> Result<(), String> {
        let parts = self
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (part, mut ready) in parts {
            if ready.wait_for(|ready| *ready).await.is_err() {
                return Err(part);
            }
        }
        Ok(())
    }
}

impl ReadyHandle {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.send_replace(ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ready_when_every_part_is() {
        let readiness = Readiness::default();
        let store = readiness.register("store");
        let link = readiness.register("link");
        store.set(true);
        assert_eq!(
            readiness.report(),
            [("store".to_owned(), true), ("link".to_owned(), false)]
        );
        link.set(true);
        assert_eq!(readiness.all_ready().await, Ok(()));
        drop(link);
        assert!(!readiness.is_ready());
        assert_eq!(
            readiness.all_ready().await,
            Ok(()),
            "it has been ready once"
        );
    }

    #[tokio::test]
    async fn a_part_that_ends_before_it_was_ready_is_named() {
        let readiness = Readiness::default();
        drop(readiness.register("store"));
        assert_eq!(readiness.all_ready().await, Err("store".to_owned()));
    }
}
