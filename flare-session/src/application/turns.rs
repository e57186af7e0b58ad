//! One change of a conversation at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use flare_storage_model::ConversationKey;
use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// Gives turns, in the order in which they are asked for. Holds as many locks as there are turns held or waited for.
#[derive(Debug, Default)]
pub struct Turns {
    locks: Arc<Mutex<HashMap<ConversationKey, Weak<tokio::sync::Mutex<()>>>>>,
}

/// The right to change a conversation, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    key: ConversationKey,
    guard: Option<OwnedMutexGuard<()>>,
    locks: Arc<Mutex<HashMap<ConversationKey, Weak<tokio::sync::Mutex<()>>>>>,
}

impl Turns {
    /// Waits for a turn. Cancel safe.
    pub async fn take(&self, key: &ConversationKey) -> Turn {
        let lock: Lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Lock::default();
                locks.insert(key.clone(), Arc::downgrade(&lock));
                lock
            })
        };
        let guard = lock.lock_owned().await;
        Turn {
            key: key.clone(),
            guard: Some(guard),
            locks: Arc::clone(&self.locks),
        }
    }
}

impl Turn {
    /// Of which conversation.
    pub const fn key(&self) -> &ConversationKey {
        &self.key
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if locks
            .get(&self.key)
            .is_some_and(|it| it.strong_count() == 0)
        {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_of_one_conversation_exclude_each_other_and_leave_nothing_behind() {
        let turns = Arc::new(Turns::default());
        let key = ConversationKey::new("t", "g");
        let first = turns.take(&key).await;
        let other = turns.take(&ConversationKey::new("t", "h")).await;
        let waiting = tokio::spawn({
            let (turns, key) = (Arc::clone(&turns), key.clone());
            async move { turns.take(&key).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.expect("gets its turn"));
        drop(other);
        assert!(turns.locks.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_nothing_behind() {
        let turns = Turns::default();
        let key = ConversationKey::new("t", "g");
        let first = turns.take(&key).await;
        {
            let mut waiting = std::pin::pin!(turns.take(&key));
            assert!(futures::poll!(waiting.as_mut()).is_pending());
        }
        drop(first);
        assert!(turns.locks.lock().expect("not poisoned").is_empty());
    }
}
