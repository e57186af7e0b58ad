//! The acked commands of one client in one conversation, as far as a later answer can contradict them.

use std::collections::BTreeMap;

/// What was acked of one client in one conversation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The last position at which it changed.
    pub(super) touched: u64,
    /// The highest seq of the commands sent up to `settled_at`.
    settled_seq: u64,
    settled_at: u64,
    /// By last position, the highest seq so far: rises with the position.
    highest_until: BTreeMap<u64, u64>,
    /// By first position, the lowest seq from there on: rises with the position.
    lowest_from: BTreeMap<u64, u64>,
    /// The highest first position of a command that was new to the server.
    pub(super) newest: u64,
    prune_at: usize,
}

impl Lane {
    /// Lanes below this many entries are not pruned.
    const PRUNE_AT: usize = 256;

    pub(super) fn len(&self) -> usize {
        self.highest_until.len().max(self.lowest_from.len())
    }

    /// It is time to [`prune`](Self::prune).
    pub(super) fn is_long(&self) -> bool {
        self.len() > self.prune_at.max(Self::PRUNE_AT)
    }

    /// Puts a command in and names a seq that contradicts it.
    pub(super) fn place(&mut self, first: u64, last: u64, seq: u64, settled: u64) -> Option<u64> {
        if self.touched <= settled && !self.highest_until.is_empty() {
            let highest = self
                .highest_until
                .values()
                .next_back()
                .copied()
                .unwrap_or(0);
            self.settled_seq = self.settled_seq.max(highest);
            self.settled_at = settled;
            self.highest_until.clear();
            self.lowest_from.clear();
        }
        let settled_seq = if first > self.settled_at {
            self.settled_seq
        } else {
            0
        };
        let before = self
            .highest_until
            .range(..first)
            .next_back()
            .map_or(0, |(_, &highest)| highest)
            .max(settled_seq);
        let after = self
            .lowest_from
            .range(last.saturating_add(1)..)
            .next()
            .map_or(u64::MAX, |(_, &lowest)| lowest);
        if self
            .highest_until
            .range(..=last)
            .next_back()
            .is_none_or(|(_, &highest)| highest < seq)
        {
            while let Some((&position, _)) = self
                .highest_until
                .range(last..)
                .next()
                .filter(|(_, highest)| **highest <= seq)
            {
                self.highest_until.remove(&position);
            }
            self.highest_until.insert(last, seq);
        }
        if self
            .lowest_from
            .range(first..)
            .next()
            .is_none_or(|(_, &lowest)| lowest > seq)
        {
            while let Some((&position, _)) = self
                .lowest_from
                .range(..=first)
                .next_back()
                .filter(|(_, lowest)| **lowest >= seq)
            {
                self.lowest_from.remove(&position);
            }
            self.lowest_from.insert(first, seq);
        }
        if before > seq {
            Some(before)
        } else if after < seq {
            Some(after)
        } else {
            None
        }
    }

    /// Forgets what no pending command can be compared with: sends before `first` but the highest, sends up to `last`.
    pub(super) fn prune(&mut self, first: u64, last: u64) {
        let kept = self
            .highest_until
            .range(..first)
            .next_back()
            .map_or(first, |(&position, _)| position);
        self.highest_until = self.highest_until.split_off(&kept);
        self.lowest_from = self.lowest_from.split_off(&last);
        self.prune_at = 2 * self.len();
    }
}
