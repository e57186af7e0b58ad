//! Ends of last connections in this process's memory.

use async_trait::async_trait;
use moka::{future::Cache, policy::EvictionPolicy};

use crate::application::ports::{LastSeenStore, PortError};

/// Whoever was longest neither seen nor asked about is forgotten first.
#[derive(Clone)]
pub struct MemoryLastSeenStore(Cache<(String, String), i64>);

impl MemoryLastSeenStore {
    /// Remembers at most `users`.
    pub fn new(users: u64) -> Self {
        // The cache's own policy turns away whoever was seen just now, for those who are asked about more often.
        let policy = EvictionPolicy::lru();
        Self(
            Cache::builder()
                .max_capacity(users)
                .eviction_policy(policy)
                .build(),
        )
    }
}

#[async_trait]
impl LastSeenStore for MemoryLastSeenStore {
    async fn note(&self, users: &[(String, String)], now_ms: i64) -> Result<(), PortError> {
        for user in users {
            self.0.insert(user.clone(), now_ms).await;
        }
        Ok(())
    }

    async fn of(&self, users: &[(String, String)]) -> Result<Vec<i64>, PortError> {
        let mut answers = Vec::with_capacity(users.len());
        for user in users {
            answers.push(self.0.get(user).await.unwrap_or_default());
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_unseen_are_forgotten_first() {
        let last_seen = MemoryLastSeenStore::new(2);
        let user = |name: &str| vec![("default".to_owned(), name.to_owned())];
        last_seen.note(&user("alice"), 1).await.unwrap();
        for _ in 0..20 {
            last_seen.of(&user("alice")).await.unwrap();
        }
        last_seen.note(&user("bob"), 2).await.unwrap();
        last_seen.0.run_pending_tasks().await;
        last_seen.note(&user("carol"), 3).await.unwrap();
        last_seen.0.run_pending_tasks().await;
        let everybody = [user("alice"), user("bob"), user("carol")].concat();
        assert_eq!(last_seen.of(&everybody).await.unwrap(), [0, 2, 3]);
    }
}
