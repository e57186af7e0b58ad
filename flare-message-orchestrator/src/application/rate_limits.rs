//! How fast a user may send, and how fast a conversation may grow.

use std::{
    collections::hash_map::RandomState,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use crate::{
    config::RateConfig,
    domain::command::{ActorKind, Command},
};

type User = (Arc<str>, Arc<str>);
type Limiter<K, C> =
    RateLimiter<K, DashMapStateStore<K, RandomState>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The limits of users and conversations. The system's and the services' commands are not limited.
pub struct RateLimits<C: Clock = DefaultClock> {
    users: Option<Limiter<User, C>>,
    conversations: Option<Limiter<ConversationKey, C>>,
    clock: C,
    max_keys: usize,
    /// Since quiet ones were last forgotten.
    checks: AtomicUsize,
}

impl RateLimits {
    /// On the machine's monotonic clock.
    pub fn new(config: &RateConfig) -> Self {
        Self::on(config, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    fn on(config: &RateConfig, clock: C) -> Self {
        Self {
            users: limiter(config.user_per_s, config.user_burst, &clock),
            conversations: limiter(config.conversation_per_s, config.conversation_burst, &clock),
            clock,
            max_keys: config.max_keys,
            checks: AtomicUsize::new(0),
        }
    }

    /// Counts the command for its user; the refusal if his commands come too fast.
    pub fn check_user(&self, command: &Command) -> Option<Refusal> {
        if !is_limited(command) {
            return None;
        }
        if self.checks.fetch_add(1, Ordering::Relaxed) >= self.max_keys / 8 {
            self.checks.store(0, Ordering::Relaxed);
            self.forget_quiet();
        }
        let user = (
            Arc::clone(&command.conversation.tenant),
            Arc::clone(&command.actor.user),
        );
        self.check_one(self.users.as_ref(), &user, "user")
    }

    /// Counts the command for its conversation; the refusal if it grows too fast. Only commands of those who take part are to be counted:
    /// strangers must not use up what the members may send.
    pub fn check_conversation(&self, command: &Command) -> Option<Refusal> {
        if !is_limited(command) {
            return None;
        }
        self.check_one(
            self.conversations.as_ref(),
            &command.conversation,
            "conversation",
        )
    }

    fn check_one<K>(
        &self,
        limiter: Option<&Limiter<K, C>>,
        key: &K,
        whose: &'static str,
    ) -> Option<Refusal>
    where
        K: Hash + Eq + Clone,
    {
        let limiter = limiter?;
        let early = limiter.check_key(key).err()?;
        metrics::counter!("flare_orchestrator_rate_limited_total", "limit" => whose).increment(1);
        let after = early.wait_time_from(self.clock.now());
        let message = format!("this {whose} sends too fast");
        Some(Refusal::new(ErrorCode::RateLimited, message).with_retry_after(after))
    }

    /// Who has not used any of his allowance needs no entry.
    fn forget_quiet(&self) {
        fn forget<K: Hash + Eq + Clone, C: Clock>(
            limiter: Option<&Limiter<K, C>>,
            max_keys: usize,
        ) {
            if let Some(limiter) = limiter.filter(|it| it.len() > max_keys) {
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
        forget(self.users.as_ref(), self.max_keys);
        forget(self.conversations.as_ref(), self.max_keys);
    }
}

fn is_limited(command: &Command) -> bool {
    !matches!(command.actor.kind, ActorKind::System | ActorKind::Service)
}

fn limiter<K: Hash + Eq + Clone, C: Clock + Clone>(
    per_s: u32,
    burst: u32,
    clock: &C,
) -> Option<Limiter<K, C>> {
    let quota = Quota::per_second(NonZeroU32::new(per_s)?).allow_burst(NonZeroU32::new(burst)?);
    Some(RateLimiter::new(
        quota,
        DashMapStateStore::default(),
        clock.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::domain::owner::testing::send;

    fn limits(clock: &FakeRelativeClock) -> RateLimits<FakeRelativeClock> {
        let config = RateConfig {
            user_per_s: 1,
            user_burst: 2,
            conversation_per_s: 1,
            conversation_burst: 3,
            max_keys: 8,
        };
        RateLimits::on(&config, clock.clone())
    }

    #[test]
    fn a_user_who_sends_too_fast_is_told_when_to_try_again() {
        let clock = FakeRelativeClock::default();
        let limits = limits(&clock);
        assert_eq!(limits.check_user(&send("alice", "bob", "1")), None);
        assert_eq!(limits.check_user(&send("alice", "carol", "2")), None);
        let refusal = limits
            .check_user(&send("alice", "dave", "3"))
            .expect("too fast");
        assert_eq!(refusal.code, ErrorCode::RateLimited);
        let after = refusal.retry_after.expect("a retry time");
        assert!(
            after > Duration::ZERO && after <= Duration::from_secs(1),
            "{after:?}"
        );
        clock.advance(after);
        assert_eq!(limits.check_user(&send("alice", "dave", "3")), None);
    }

    #[test]
    fn a_conversation_has_a_limit_of_its_own() {
        let limits = limits(&FakeRelativeClock::default());
        for (sender, peer) in [("alice", "bob"), ("bob", "alice"), ("alice", "bob")] {
            assert_eq!(limits.check_conversation(&send(sender, peer, "1")), None);
        }
        let refusal = limits
            .check_conversation(&send("bob", "alice", "2"))
            .expect("too fast");
        assert!(refusal.message.contains("conversation"), "{refusal}");
    }

    #[test]
    fn quiet_users_are_forgotten_when_there_are_too_many() {
        let clock = FakeRelativeClock::default();
        let limits = limits(&clock);
        for user in 0..100 {
            limits.check_user(&send(&format!("u{user}"), "bob", "1"));
            clock.advance(Duration::from_secs(10));
        }
        assert!(limits.users.as_ref().is_some_and(|it| it.len() < 20));
    }
}
