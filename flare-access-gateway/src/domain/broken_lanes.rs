//! Which lanes of a connection the orchestrator holds back.
//!
//! The orchestrator forgets a stream's lanes with the stream. What was sent behind a refused command must not be placed by the next stream, so
//! the gateway remembers.

use std::collections::HashMap;

/// Beyond this many, all lanes count as broken until nothing is outstanding.
const MAX_KNOWN: usize = 256;

/// The lanes of one connection that broke while commands of it were outstanding.
#[derive(Debug, Default)]
pub struct BrokenLanes {
    /// Lane → the highest generation that is held back.
    generations: HashMap<u64, u32>,
    all: bool,
}

impl BrokenLanes {
    /// A command of the lane was refused for now: what has the same generation, or a lower one, is not to be placed.
    pub fn break_up_to(&mut self, lane: u64, generation: u32) {
        if self.generations.len() >= MAX_KNOWN && !self.generations.contains_key(&lane) {
            self.all = true;
            return;
        }
        let known = self.generations.entry(lane).or_insert(generation);
        *known = generation.max(*known);
    }

    /// Whether a command is held back.
    pub fn holds(&self, lane: u64, generation: u32) -> bool {
        self.all
            || self
                .generations
                .get(&lane)
                .is_some_and(|broken| generation <= *broken)
    }

    /// The connection has nothing outstanding and has seen every receipt: what it sends from here on has a higher generation.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_lane_holds_its_generation_and_no_later_one() {
        let mut lanes = BrokenLanes::default();
        lanes.break_up_to(7, 2);
        lanes.break_up_to(7, 1);
        assert!(lanes.holds(7, 1) && lanes.holds(7, 2));
        assert!(!lanes.holds(7, 3) && !lanes.holds(8, 1));
    }

    #[test]
    fn too_many_broken_lanes_hold_everything_until_nothing_is_outstanding() {
        let mut lanes = BrokenLanes::default();
        for lane in 0..=MAX_KNOWN as u64 {
            lanes.break_up_to(lane, 1);
        }
        assert!(lanes.holds(9_999, 9));
        lanes.forget();
        assert!(!lanes.holds(9_999, 9) && !lanes.holds(0, 1));
    }
}
