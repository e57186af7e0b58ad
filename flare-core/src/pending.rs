//! What a connection has sent and not yet heard of: bounded, and in order.

use std::collections::VecDeque;

pub use self::lanes::{Admit, LaneIds, Lanes};

mod lanes;

/// Most unacked Sends of a connection, unless configured: beyond, the server stops reading.
pub const DEFAULT_MAX_UNACKED: usize = 64;

/// The commands of one connection that wait for their receipts, by the correlation under which they were submitted.
#[derive(Debug)]
pub struct Unacked<T> {
    max: usize,
    /// In the order of submission: receipts come nearly in that order, so the search is short.
    waiting: VecDeque<(u64, T)>,
}

impl<T> Unacked<T> {
    /// Allocates nothing until the first command.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            waiting: VecDeque::new(),
        }
    }

    /// Whether the connection is to be read no further.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.max
    }

    /// Remembers a submitted command. The caller reads no frame while [`Self::is_full`].
    pub fn submitted(&mut self, correlation: u64, command: T) {
        self.waiting.push_back((correlation, command));
    }

    /// The command of a receipt; `None` if it has had its receipt.
    pub fn settle(&mut self, correlation: u64) -> Option<T> {
        let at = self.waiting.iter().position(|(it, _)| *it == correlation)?;
        let settled = self.waiting.remove(at).map(|(_, command)| command);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        settled
    }

    /// Everything that waits, in the order of submission, with its correlation.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.waiting
            .iter()
            .map(|(correlation, command)| (*correlation, command))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_limit_and_goes_on_below_it() {
        let mut unacked = Unacked::new(2);
        unacked.submitted(1, "a");
        assert!(!unacked.is_full());
        unacked.submitted(2, "b");
        assert!(unacked.is_full());
        assert_eq!(unacked.settle(2), Some("b"));
        assert!(!unacked.is_full());
        assert_eq!(unacked.settle(2), None);
        assert_eq!(unacked.iter().collect::<Vec<_>>(), [(1, &"a")]);
    }
}
