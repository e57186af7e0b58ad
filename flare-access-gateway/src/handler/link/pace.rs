//! How fast a connection may send.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

/// A rate, and how far a connection has gone beyond it.
pub(super) struct Pace {
    limiter: Box<DefaultDirectRateLimiter>,
    excess: u32,
    max_excess: u32,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Passes,
    /// Above the rate; not before this.
    Waits(Duration),
    /// Far above the rate for long.
    Abuse,
}

impl Pace {
    pub(super) fn new(per_s: u32, burst: u32, max_excess: u32) -> Self {
        let some = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(some(per_s)).allow_burst(some(burst));
        Self {
            limiter: Box::new(RateLimiter::direct(quota)),
            excess: 0,
            max_excess,
        }
    }

    pub(super) fn judge(&mut self) -> Judged {
        match self.limiter.check() {
            Ok(()) => {
                self.excess = self.excess.saturating_sub(1);
                Judged::Passes
            }
            Err(_) if self.excess >= self.max_excess => Judged::Abuse,
            Err(until) => {
                self.excess += 1;
                Judged::Waits(until.wait_time_from(DefaultClock::default().now()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_frames_wait_then_it_is_abuse() {
        let mut pace = Pace::new(1, 3, 2);
        let judged: Vec<_> = std::iter::repeat_with(|| pace.judge()).take(6).collect();
        assert_eq!(judged.first_chunk(), Some(&[Judged::Passes; 3]));
        assert!(
            matches!(judged.get(3..5), Some([Judged::Waits(_), Judged::Waits(wait)]) if *wait <= Duration::from_secs(1))
        );
        assert_eq!(judged.last(), Some(&Judged::Abuse));
    }
}
