//! Who is online, and since when not.

use std::sync::Arc;

use moka::{future::Cache, policy::EvictionPolicy};

use super::ports::{PortError, PresenceStore};
use crate::domain::{presence::Located, revocation::DeviceKey};

/// When users' last connections ended. Memory only: whoever was longest neither seen nor asked about is forgotten first.
#[derive(Clone)]
pub struct LastSeen(Cache<(String, String), i64>);

impl LastSeen {
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

    /// The user has no connection since `now_ms`.
    pub async fn note(&self, user: &DeviceKey, now_ms: i64) {
        self.0
            .insert((user.tenant.clone(), user.user.clone()), now_ms)
            .await;
    }

    async fn of(&self, tenant: &str, user: &str) -> i64 {
        self.0
            .get(&(tenant.to_owned(), user.to_owned()))
            .await
            .unwrap_or_default()
    }
}

/// A user's presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The user.
    pub user: String,
    /// When his last connection ended, Unix milliseconds; 0: unknown, or he is online.
    pub last_seen_ms: i64,
    /// His connections.
    pub connections: Vec<Located>,
}

/// The queries.
pub struct Queries {
    /// Presence.
    pub presence: Arc<dyn PresenceStore>,
    /// Ends of last connections.
    pub last_seen: LastSeen,
}

impl Queries {
    /// The connections of users (tenant, user), in their order.
    pub async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        self.presence.lookup(users).await
    }

    /// The presence of users of one tenant, in their order.
    pub async fn presence(
        &self,
        tenant: &str,
        users: Vec<String>,
    ) -> Result<Vec<Presence>, PortError> {
        let keys: Vec<_> = users
            .iter()
            .map(|user| (tenant.to_owned(), user.clone()))
            .collect();
        let found = self.presence.lookup(&keys).await?;
        let mut answers = Vec::with_capacity(users.len());
        for (user, connections) in users.into_iter().zip(found) {
            let last_seen_ms = if connections.is_empty() {
                self.last_seen.of(tenant, &user).await
            } else {
                0
            };
            answers.push(Presence {
                user,
                last_seen_ms,
                connections,
            });
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_unseen_are_forgotten_first() {
        let last_seen = LastSeen::new(2);
        let user = |name: &str| DeviceKey {
            tenant: "default".to_owned(),
            user: name.to_owned(),
            device: String::new(),
        };
        last_seen.note(&user("alice"), 1).await;
        for _ in 0..20 {
            last_seen.of("default", "alice").await;
        }
        last_seen.note(&user("bob"), 2).await;
        last_seen.0.run_pending_tasks().await;
        last_seen.note(&user("carol"), 3).await;
        last_seen.0.run_pending_tasks().await;
        let mut seen = Vec::new();
        for name in ["alice", "bob", "carol"] {
            seen.push(last_seen.of("default", name).await);
        }
        assert_eq!(seen, [0, 2, 3]);
    }
}
