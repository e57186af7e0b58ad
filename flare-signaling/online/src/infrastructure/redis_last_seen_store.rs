//! Ends of last connections in Redis, for any number of these services.

use async_trait::async_trait;
use flare_server_core::redis::{Redis, RedisError};

use crate::application::ports::{LastSeenStore, PortError};

/// Whoever was not seen for so long is forgotten.
const KEPT_S: u64 = 30 * 86_400;
/// Users in one round trip.
const BATCH: usize = 1_000;

/// One key a user, which expires.
pub struct RedisLastSeenStore {
    redis: Redis,
}

impl RedisLastSeenStore {
    /// Keeps them there.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self, (tenant, user): &(String, String)) -> String {
        self.redis
            .key(&format!("seen:{}:{tenant}:{user}", tenant.len()))
    }
}

fn unavailable(error: RedisError) -> PortError {
    PortError {
        what: "last seen",
        why: error.to_string(),
    }
}

#[async_trait]
impl LastSeenStore for RedisLastSeenStore {
    async fn note(&self, users: &[(String, String)], now_ms: i64) -> Result<(), PortError> {
        for some in users.chunks(BATCH) {
            let mut sets = redis::pipe();
            for user in some {
                sets.set_ex(self.key(user), now_ms, KEPT_S).ignore();
            }
            let () = self.redis.pipeline(&sets).await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn of(&self, users: &[(String, String)]) -> Result<Vec<i64>, PortError> {
        let mut answers = Vec::with_capacity(users.len());
        for some in users.chunks(BATCH) {
            let mut get = redis::cmd("MGET");
            for user in some {
                get.arg(self.key(user));
            }
            let found: Vec<Option<i64>> = self.redis.command(&get).await.map_err(unavailable)?;
            answers.extend(found.into_iter().map(Option::unwrap_or_default));
        }
        Ok(answers)
    }
}
