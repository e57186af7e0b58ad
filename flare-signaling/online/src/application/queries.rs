//! Who is online, and since when not.

use std::sync::Arc;

use super::ports::{LastSeenStore, PortError, PresenceStore};
use crate::domain::presence::{Gateway, Located};

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
    pub last_seen: Arc<dyn LastSeenStore>,
}

impl Queries {
    /// The connections of users (tenant, user), in their order.
    pub async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        self.presence.lookup(users).await
    }

    /// The gateways that are held.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, PortError> {
        self.presence.gateways().await
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
        let mut answers: Vec<_> = users
            .into_iter()
            .zip(found)
            .map(|(user, connections)| Presence {
                user,
                last_seen_ms: 0,
                connections,
            })
            .collect();
        let mut away: Vec<_> = answers
            .iter_mut()
            .filter(|it| it.connections.is_empty())
            .collect();
        if away.is_empty() {
            return Ok(answers);
        }
        let key = |it: &&mut Presence| (tenant.to_owned(), it.user.clone());
        let last_seen = self
            .last_seen
            .of(&away.iter().map(key).collect::<Vec<_>>())
            .await?;
        for (presence, last_seen_ms) in away.iter_mut().zip(last_seen) {
            presence.last_seen_ms = last_seen_ms;
        }
        Ok(answers)
    }
}
