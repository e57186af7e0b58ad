//! Who owns which partition of the log, as flare-signaling-route tells it: how owners say so, and how callers know whom to ask. Of partitions it knows
//! numbers, of owners endpoints; nothing of messages.
//!
//! Nothing stands or falls by it: whoever is asked for what it does not own refuses `NOT_OWNER`, and the caller asks again.

mod announcing;
mod directory;
mod watching;

pub use self::{
    announcing::{Announcing, Ownerships},
    directory::{Directory, Owner},
    watching::Owners,
};

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses between streams to flare-signaling-route.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A stream that has lasted so long was a good one: the next begins after the shortest pause.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Pauses that grow from stream to stream, until one has lasted.
struct Pauses(ExponentialBackoff);

impl Pauses {
    fn new() -> Self {
        let growing = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        Self(growing.build())
    }

    /// Waits after a stream that lasted so long.
    async fn after(&mut self, lasted: Duration) {
        if lasted >= GOOD_AFTER {
            *self = Self::new();
        }
        tokio::time::sleep(self.0.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}
