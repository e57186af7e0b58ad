//! How long a writer waited in vain.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When a writer had receipts, and for how long none.
#[derive(Debug)]
pub(super) struct Silence {
    since: Mutex<Since>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    /// The last receipt, or the mark.
    last: Instant,
    /// Between two receipts after the mark.
    longest: Duration,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self {
            since: Mutex::new(Since::now()),
        }
    }

    /// What was before does not count.
    pub(super) fn mark(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Since::now();
    }

    /// A receipt came.
    pub(super) fn ends(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.longest = since.longest.max(since.last.elapsed());
        since.last = Instant::now();
    }

    /// The longest since the mark; that which goes on counts.
    pub(super) fn longest(&self) -> Duration {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.longest.max(since.last.elapsed())
    }
}

impl Since {
    fn now() -> Self {
        Self {
            last: Instant::now(),
            longest: Duration::ZERO,
        }
    }
}
