//! How far the store is behind the log. What it does not hold stays in memory, so it must not fall behind without end.

use std::collections::VecDeque;

/// The groups that the store has not committed.
#[derive(Debug, Default)]
pub(crate) struct StoreLag {
    /// (end offset, events, time in Unix milliseconds), oldest first.
    groups: VecDeque<(u64, usize, i64)>,
    events: usize,
    /// The store holds every record below this.
    stored: u64,
}

impl StoreLag {
    pub(crate) fn new(stored: u64) -> Self {
        Self {
            stored,
            ..Self::default()
        }
    }

    /// A group counts, at `offset`.
    pub(crate) fn grow(&mut self, offset: u64, events: usize, time_ms: i64) {
        // The store may have committed it before its owner knew; and a group without events is nothing to wait for.
        if events > 0 && offset >= self.stored {
            self.groups.push_back((offset + 1, events, time_ms));
            self.events += events;
        }
    }

    /// The store's cursor stands at `stored`.
    pub(crate) fn shrink(&mut self, stored: u64) {
        self.stored = self.stored.max(stored);
        while let Some((_, events, _)) = self.groups.pop_front_if(|(end, ..)| *end <= stored) {
            self.events -= events;
        }
    }

    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// How long ago the oldest group came that the store does not have, in milliseconds.
    pub(crate) fn age_ms(&self, now_ms: i64) -> i64 {
        self.groups
            .front()
            .map_or(0, |(.., time)| now_ms.saturating_sub(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_the_store_has_not_committed() {
        let mut lag = StoreLag::new(5);
        lag.grow(4, 100, 1_000);
        lag.grow(5, 0, 0);
        lag.grow(5, 10, 2_000);
        lag.grow(7, 20, 3_000);
        assert_eq!((lag.events(), lag.age_ms(5_000)), (30, 3_000));
        lag.shrink(6);
        assert_eq!((lag.events(), lag.age_ms(5_000)), (20, 2_000));
        lag.shrink(9);
        assert_eq!((lag.events(), lag.age_ms(5_000)), (0, 0));
        assert_eq!(lag.stored(), 9);
    }
}
