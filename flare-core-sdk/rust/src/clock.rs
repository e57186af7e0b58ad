//! The server's time, as far as the client knows it, and the ids that are made from it.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::Instant};
use ulid::Ulid;

/// Shared by the handles and the task of one client.
#[derive(Debug)]
pub(crate) struct ServerClock {
    start: Instant,
    /// The server's Unix time at `start`, in milliseconds; `None` until the server has told its time.
    zero: watch::Sender<Option<i64>>,
    rng: Mutex<StdRng>,
}

impl ServerClock {
    /// Ids and jitter follow from the seed, if one is given.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let rng = seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
        Self {
            start: Instant::now(),
            zero: watch::Sender::new(None),
            rng: Mutex::new(rng),
        }
    }

    /// Milliseconds since the client began: only forward.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment of [`Self::now_ms`]'s scale.
    pub(crate) fn instant(&self, at_ms: u64) -> Option<Instant> {
        self.start
            .checked_add(std::time::Duration::from_millis(at_ms))
    }

    /// The server said that it was `server_ms`. The answer was on its way for a while, so the client's idea lags a little and is never ahead.
    pub(crate) fn learn(&self, server_ms: i64, now_ms: u64) {
        let since = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.zero
            .send_replace(Some(server_ms.saturating_sub(since)));
    }

    pub(crate) fn server_ms(&self, now_ms: u64) -> Option<i64> {
        let since = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.zero.borrow().map(|zero| zero.saturating_add(since))
    }

    /// A ULID of the server's time; `None` until that is known.
    pub(crate) fn mint(&self, now_ms: u64) -> Option<String> {
        let at = u64::try_from(self.server_ms(now_ms)?).unwrap_or_default();
        let random: u128 = self.rng().random();
        Some(Ulid::from_parts(at, random).to_string())
    }

    /// Waits until the server has told its time.
    pub(crate) async fn known(&self) {
        // The sender is `self`, so the wait ends only by a value.
        let _ = self.zero.subscribe().wait_for(Option::is_some).await;
    }

    /// Between 0 and 1.
    pub(crate) fn chance(&self) -> f64 {
        self.rng().random()
    }

    pub(crate) fn seed(&self) -> u64 {
        self.rng().random()
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_bear_the_servers_time_and_there_are_none_before_it_is_known() {
        let clock = ServerClock::new(Some(7));
        assert_eq!(clock.mint(0), None);
        clock.learn(1_700_000_000_000, 5_000);
        clock.known().await;
        let id = clock.mint(7_500).unwrap();
        let read = Ulid::from_string(&id).unwrap();
        assert_eq!(read.timestamp_ms(), 1_700_000_002_500);
        assert_ne!(clock.mint(7_500).unwrap(), id);
    }

    #[test]
    fn a_jump_of_the_servers_clock_is_followed_both_ways() {
        let clock = ServerClock::new(Some(7));
        clock.learn(50_000, 0);
        clock.learn(20_000, 1_000);
        assert_eq!(clock.server_ms(1_500), Some(20_500));
        clock.learn(90_000, 2_000);
        assert_eq!(clock.server_ms(2_000), Some(90_000));
    }
}
