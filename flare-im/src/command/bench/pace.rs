//! When messages are due.

use std::time::{Duration, Instant};

/// Of one sender among many who together send at a rate.
pub(super) struct Pace {
    due: Instant,
    gap: Duration,
}

impl Pace {
    /// So many senders take their turns; this is the one of the number `at`.
    pub(super) fn of(rate: u32, senders: u32, at: u32) -> Self {
        let turn = Duration::from_secs(1) / rate;
        Self {
            due: Instant::now() + turn * at,
            gap: turn * senders,
        }
    }

    /// When the next is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// When the next was due, if it is; the one after it is next.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.due;
        (due <= now).then(|| {
            self.due += self.gap;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_senders_together_keep_the_rate() {
        let begun = Instant::now();
        let mut paces: Vec<_> = (0..5).map(|at| Pace::of(1_000, 5, at)).collect();
        let until = begun + Duration::from_millis(500);
        let mut dues = Vec::new();
        for pace in &mut paces {
            dues.extend(std::iter::from_fn(|| pace.take(until)));
        }
        assert!((495..=500).contains(&dues.len()), "{}", dues.len());
        assert!(paces.iter().all(|it| it.due() > until));
    }
}
