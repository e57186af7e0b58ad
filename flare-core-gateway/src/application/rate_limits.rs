//! How much each user and each API key may ask for.

use std::{hash::Hash, num::NonZeroU32, time::Duration};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use ulid::Ulid;

use crate::domain::caller::{Caller, Proof};

/// So much a second, and so much at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

/// A token bucket for each user and each API key. A call costs as much as the messages of its batch, or the pieces of its body, are many.
pub struct RateLimits {
    users: DefaultKeyedRateLimiter<(String, String)>,
    keys: DefaultKeyedRateLimiter<Ulid>,
    user_burst: NonZeroU32,
    key_burst: NonZeroU32,
    clock: DefaultClock,
}

impl RateLimits {
    /// All buckets are full.
    pub fn new(users: Rate, keys: Rate) -> Self {
        let limiter = |rate: Rate| Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            users: DefaultKeyedRateLimiter::keyed(limiter(users)),
            keys: DefaultKeyedRateLimiter::keyed(limiter(keys)),
            user_burst: users.burst,
            key_burst: keys.burst,
            clock: DefaultClock::default(),
        }
    }

    /// Takes the price of a call from its caller's bucket, in requests, of which some `paid` were taken before. A call that is worth more than a
    /// whole bucket costs a whole bucket, all in all.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time to wait.
    pub fn charge(&self, caller: &Caller, paid: u32, price: u32) -> Result<(), Refusal> {
        let rest = |burst: NonZeroU32| price.min(burst.get()).saturating_sub(paid);
        match (&caller.proof, caller.user()) {
            (Proof::ApiKey { id, .. }, _) => {
                self.take(&self.keys, id, rest(self.key_burst), "api_key")
            }
            (Proof::Token, user) => {
                let user = (caller.tenant.clone(), user.unwrap_or_default().to_owned());
                self.take(&self.users, &user, rest(self.user_burst), "user")
            }
        }
    }

    /// Forgets the buckets that are full again.
    pub fn forget_idle(&self) {
        self.users.retain_recent();
        self.users.shrink_to_fit();
        self.keys.retain_recent();
        self.keys.shrink_to_fit();
    }

    fn take<K: Hash + Eq + Clone>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
        requests: u32,
        by: &'static str,
    ) -> Result<(), Refusal> {
        let Some(requests) = NonZeroU32::new(requests) else {
            return Ok(());
        };
        // More than the burst is never there: it cannot be asked for here.
        let wait = match limiter.check_key_n(key, requests) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(until)) => until.wait_time_from(self.clock.now()),
            Err(_) => Duration::from_secs(1),
        };
        metrics::counter!("flare_core_gateway_rate_limited_total", "by" => by).increment(1);
        let wait = wait.max(Duration::from_millis(1));
        Err(
            Refusal::new(ErrorCode::RateLimited, "too many requests: slow down")
                .with_retry_after(wait),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Actor;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::new(per_second).expect("above 0"),
            burst: NonZeroU32::new(burst).expect("above 0"),
        }
    }

    fn user(tenant: &str, name: &str) -> Caller {
        let actor = Actor::User {
            user: name.to_owned(),
            device: None,
        };
        Caller {
            tenant: tenant.to_owned(),
            actor,
            proof: Proof::Token,
        }
    }

    fn key(id: u128) -> Caller {
        let proof = Proof::ApiKey {
            id: Ulid::from(id),
            scopes: crate::domain::scope::Scopes::default(),
        };
        Caller {
            tenant: "default".to_owned(),
            actor: Actor::System,
            proof,
        }
    }

    #[test]
    fn each_caller_has_a_bucket_of_his_own() {
        let limits = RateLimits::new(rate(1, 2), rate(1, 3));
        let alice = user("default", "alice");
        assert!(limits.charge(&alice, 0, 1).is_ok() && limits.charge(&alice, 0, 1).is_ok());
        let refusal = limits
            .charge(&alice, 0, 1)
            .expect_err("the bucket is empty");
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        assert!(
            refusal
                .retry_after
                .is_some_and(|it| it > Duration::ZERO && it <= Duration::from_secs(1))
        );
        assert!(
            limits.charge(&user("other", "alice"), 0, 1).is_ok(),
            "another tenant's"
        );
        assert!(limits.charge(&user("default", "bob"), 0, 1).is_ok());
        assert!(limits.charge(&key(1), 0, 3).is_ok() && limits.charge(&key(1), 0, 1).is_err());
        assert!(limits.charge(&key(2), 0, 1).is_ok());
    }

    #[test]
    fn a_batch_above_the_burst_costs_a_whole_bucket() {
        let limits = RateLimits::new(rate(1, 2), rate(1, 10));
        assert!(limits.charge(&key(1), 0, 1).is_ok(), "when it is let in");
        assert!(limits.charge(&key(1), 1, 200).is_ok(), "when it is read");
        assert!(limits.charge(&key(1), 0, 1).is_err());
        assert!(limits.charge(&key(2), 0, 200).is_ok());
        assert!(limits.charge(&key(2), 200, 300).is_ok(), "it is paid");
    }
}
