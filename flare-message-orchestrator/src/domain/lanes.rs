//! The callers' ordered lanes: after a retryable refusal, what comes behind it waits until the caller has taken note.

use std::collections::{BTreeMap, BTreeSet};

/// The lanes that are broken. A lane is known here from a refusal on, until an item of a higher generation comes or its stream ends.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Streams that have come and not ended. Of one that has ended, what is refused later breaks nothing: nothing can come behind it.
    living: BTreeSet<u64>,
    /// (stream, lane) → the highest generation that is refused.
    broken: BTreeMap<(u64, u64), u32>,
    /// Streams that were told to end, as one more of their lanes could not be remembered: nothing of any lane passes until they have.
    ending: BTreeSet<u64>,
    limit: usize,
}

/// There is no room to remember one more broken lane: its stream must end, or its order would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Lanes {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            living: BTreeSet::new(),
            broken: BTreeMap::new(),
            ending: BTreeSet::new(),
            limit,
        }
    }

    /// Whether an item may pass. One of a higher generation mends the lane.
    pub(crate) fn admits(&mut self, stream: u64, lane: u64, generation: u32) -> bool {
        self.living.insert(stream);
        if lane != 0 && self.ending.contains(&stream) {
            return false;
        }
        match self.broken.get(&(stream, lane)) {
            Some(broken) if lane != 0 && generation <= *broken => false,
            Some(_) => {
                self.broken.remove(&(stream, lane));
                true
            }
            None => true,
        }
    }

    /// An item was refused and may be tried again: all behind it up to `generation` must not overtake it.
    pub(crate) fn break_up_to(
        &mut self,
        stream: u64,
        lane: u64,
        generation: u32,
    ) -> Result<(), NoRoom> {
        if lane == 0 || !self.living.contains(&stream) || self.ending.contains(&stream) {
            return Ok(());
        }
        if let Some(broken) = self.broken.get_mut(&(stream, lane)) {
            *broken = generation.max(*broken);
            return Ok(());
        }
        if self.broken.len() >= self.limit {
            self.ending.insert(stream);
            return Err(NoRoom);
        }
        self.broken.insert((stream, lane), generation);
        Ok(())
    }

    /// Forgets the lanes of a stream that has ended.
    pub(crate) fn forget(&mut self, stream: u64) {
        self.living.remove(&stream);
        self.ending.remove(&stream);
        let mut behind = self.broken.split_off(&(stream, 0));
        if let Some(next) = stream.checked_add(1) {
            self.broken.append(&mut behind.split_off(&(next, 0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams 1 to 3 have come.
    fn lanes(limit: usize) -> Lanes {
        let mut lanes = Lanes::new(limit);
        for stream in 1..=3 {
            assert!(lanes.admits(stream, 0, 0));
        }
        lanes
    }

    #[test]
    fn a_broken_lane_refuses_up_to_its_generation_and_is_mended_by_a_higher_one() {
        let mut lanes = lanes(10);
        lanes.break_up_to(1, 7, 3).expect("room");
        assert!(!lanes.admits(1, 7, 3) && !lanes.admits(1, 7, 2));
        assert!(
            lanes.admits(1, 8, 3) && lanes.admits(2, 7, 3),
            "other lanes and streams are whole"
        );
        assert!(lanes.admits(1, 7, 4));
        assert!(lanes.admits(1, 7, 4));
    }

    #[test]
    fn no_lane_means_no_order() {
        let mut lanes = lanes(10);
        lanes.break_up_to(1, 0, 3).expect("nothing to keep");
        assert!(lanes.admits(1, 0, 0));
    }

    #[test]
    fn lanes_end_with_their_stream_and_are_bounded() {
        let mut lanes = lanes(2);
        lanes.break_up_to(1, 1, 0).expect("room");
        lanes.break_up_to(2, 1, 0).expect("room");
        assert_eq!(lanes.break_up_to(3, 1, 0), Err(NoRoom));
        assert!(
            !lanes.admits(3, 1, 1) && !lanes.admits(3, 2, 0),
            "nothing of a stream that ends overtakes what was refused"
        );
        assert!(lanes.admits(3, 0, 0), "what has no lane has no order");
        assert_eq!(lanes.break_up_to(3, 2, 0), Ok(()), "it is told once");
        lanes.forget(1);
        lanes.forget(3);
        assert!(lanes.admits(1, 1, 0));
        assert!(!lanes.admits(2, 1, 0));
        assert!(lanes.admits(3, 1, 0), "a stream that came after all");
        lanes.break_up_to(3, 1, 0).expect("room again");
    }

    #[test]
    fn what_an_ended_stream_left_behind_breaks_no_lane() {
        let mut lanes = lanes(1);
        lanes.forget(1);
        assert_eq!(lanes.break_up_to(1, 1, 0), Ok(()));
        lanes.break_up_to(2, 1, 0).expect("there still is room");
        assert!(!lanes.admits(2, 1, 0));
    }
}
