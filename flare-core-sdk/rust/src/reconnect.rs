//! When to try again after a connection ended, and whether.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use flare_proto::client::CloseReason;

use crate::event::DisconnectReason;

/// A provider's tokens are refused so often in a row before the client ends.
const MAX_TOKENS_REFUSED: u32 = 3;

/// The pauses between attempts.
#[derive(Debug)]
pub(crate) struct Reconnect {
    builder: ExponentialBuilder,
    longest: Duration,
    pauses: ExponentialBackoff,
    /// Tokens come from a provider: another may be had.
    has_provider: bool,
    tokens_refused: u32,
}

impl Reconnect {
    pub(crate) fn new(
        shortest: Duration,
        longest: Duration,
        seed: u64,
        has_provider: bool,
    ) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest.max(shortest))
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(seed);
        Self {
            builder,
            longest: longest.max(shortest),
            pauses: builder.build(),
            has_provider,
            tokens_refused: 0,
        }
    }

    /// The connection was of use: the next failure is the first again.
    pub(crate) fn worked(&mut self) {
        self.pauses = self.builder.build();
    }

    /// The server took the token.
    pub(crate) fn let_in(&mut self) {
        self.tokens_refused = 0;
    }

    /// Whether the next attempt needs another token than the last.
    pub(crate) fn wants_new_token(&self) -> bool {
        self.tokens_refused > 0
    }

    /// The pause before the next attempt; `None`: there is none. `not_before`: the server asked for as much.
    pub(crate) fn after(
        &mut self,
        reason: &DisconnectReason,
        is_final: bool,
        not_before: Duration,
    ) -> Option<Duration> {
        if is_final {
            return None;
        }
        let asked = match reason {
            DisconnectReason::ByOwner => return None,
            DisconnectReason::Closed {
                reason: CloseReason::Kicked | CloseReason::Replaced,
                ..
            } => return None,
            DisconnectReason::Closed {
                reason: CloseReason::Unauthenticated,
                ..
            } => {
                self.token_refused()?;
                Duration::ZERO
            }
            DisconnectReason::Refused(refusal) if refusal.is_about_the_token() => {
                self.token_refused()?;
                Duration::ZERO
            }
            DisconnectReason::Refused(refusal) => refusal.retry_after.unwrap_or_default(),
            DisconnectReason::GoingAway => return Some(not_before),
            _ => Duration::ZERO,
        };
        let pause = self.pauses.next().unwrap_or(self.longest);
        Some(pause.max(asked).max(not_before))
    }

    fn token_refused(&mut self) -> Option<()> {
        self.tokens_refused += 1;
        (self.has_provider && self.tokens_refused < MAX_TOKENS_REFUSED).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use flare_proto::common::ErrorCode;

    fn reconnect(has_provider: bool) -> Reconnect {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(2));
        Reconnect::new(shortest, longest, 7, has_provider)
    }

    fn broken() -> DisconnectReason {
        DisconnectReason::Broken("reset".to_owned())
    }

    fn closed(reason: CloseReason) -> DisconnectReason {
        DisconnectReason::Closed {
            reason,
            message: String::new(),
        }
    }

    #[test]
    fn pauses_grow_to_the_longest_and_are_spread() {
        let mut reconnect = reconnect(false);
        let pauses: Vec<_> = (0..20)
            .map(|_| reconnect.after(&broken(), false, Duration::ZERO).unwrap())
            .collect();
        assert!(pauses[0] >= Duration::from_millis(100));
        assert!(pauses[0] <= Duration::from_millis(200));
        let late = &pauses[10..];
        assert!(
            late.iter()
                .all(|it| *it >= Duration::from_secs(2) && *it <= Duration::from_secs(4))
        );
        assert!(late.windows(2).any(|it| it[0] != it[1]));
        reconnect.worked();
        let first = reconnect.after(&broken(), false, Duration::ZERO).unwrap();
        assert!(first <= Duration::from_millis(200));
    }

    #[test]
    fn who_is_displaced_or_kicked_does_not_come_back() {
        for reason in [CloseReason::Kicked, CloseReason::Replaced] {
            let pause = reconnect(true).after(&closed(reason), false, Duration::ZERO);
            assert_eq!(pause, None, "{reason:?}");
        }
        for reason in [
            CloseReason::SlowReader,
            CloseReason::GoingAway,
            CloseReason::Idle,
        ] {
            let pause = reconnect(false).after(&closed(reason), false, Duration::ZERO);
            assert!(pause.is_some(), "{reason:?}");
        }
    }

    #[test]
    fn a_fixed_token_that_is_refused_is_the_end_and_a_provider_is_asked_a_few_times() {
        let refused = DisconnectReason::Refused(Refusal {
            code: ErrorCode::TokenExpired,
            message: String::new(),
            field: String::new(),
            retry_after: None,
            server_time_ms: None,
        });
        assert_eq!(
            reconnect(false).after(&refused, false, Duration::ZERO),
            None
        );
        let mut asked = reconnect(true);
        assert!(!asked.wants_new_token());
        assert!(asked.after(&refused, false, Duration::ZERO).is_some());
        assert!(asked.wants_new_token());
        assert!(asked.after(&refused, false, Duration::ZERO).is_some());
        assert_eq!(asked.after(&refused, false, Duration::ZERO), None);
    }

    #[test]
    fn the_server_is_given_the_time_it_asked_for() {
        let wait = Duration::from_secs(9);
        let pause = reconnect(false).after(&closed(CloseReason::GoingAway), false, wait);
        assert!(pause.unwrap() >= wait);
    }
}
