//! How far a member of a group is in the lanes that come to it.

use std::collections::BTreeMap;

/// The lanes of a member: what of each was read, handled, flushed and kept. In each lane none of these exceeds the one before.
#[derive(Default)]
pub(super) struct Positions {
    lanes: BTreeMap<i32, Lane>,
    assignments: u64,
}

/// The positions are offsets of the next record; none: nobody ever kept one.
struct Lane {
    /// Which of all assignments gave it: what was read under an earlier one says nothing here.
    assignment: u64,
    read: Option<u64>,
    handled: Option<u64>,
    flushed: Option<u64>,
    kept: Option<u64>,
    /// The lowest offset there is, and the one after the last record, as far as is known.
    bounds: (u64, u64),
}

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: i32,
    assignment: u64,
    /// The offset after the record.
    next: u64,
}

/// A position in each of some lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks(Vec<Place>);

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lane and offset of the next record.
    pub(super) fn offsets(&self) -> Vec<(i32, u64)> {
        self.0.iter().map(|mark| (mark.lane, mark.next)).collect()
    }
}

impl Positions {
    /// A lane comes to this member, who goes on at `from`.
    pub(super) fn assign(&mut self, lane: i32, from: Option<u64>) {
        self.assignments += 1;
        let lane_now = Lane {
            assignment: self.assignments,
            read: from,
            handled: from,
            flushed: from,
            kept: from,
            bounds: (0, 0),
        };
        self.lanes.insert(lane, lane_now);
    }

    /// These lanes do not come to it any more.
    pub(super) fn remove(&mut self, lanes: &[i32]) {
        self.lanes.retain(|lane, _| !lanes.contains(lane));
    }

    /// No lane comes to it any more.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }

    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Whether the lane still comes to this member, and did all the time since.
    pub(super) fn holds(&self, place: &Place) -> bool {
        let lane = self.lanes.get(&place.lane);
        lane.is_some_and(|state| state.assignment == place.assignment)
    }

    /// Takes note of a record that was read, and says how many are missing before it. None: the lane is not this member's.
    pub(super) fn read(&mut self, lane: i32, offset: u64) -> Option<(Place, u64)> {
        let state = self.lanes.get_mut(&lane)?;
        let missing = state.read.map_or(0, |read| offset.saturating_sub(read));
        state.read = Some(offset + 1);
        state.bounds.1 = state.bounds.1.max(offset + 1);
        let place = Place {
            lane,
            assignment: state.assignment,
            next: offset + 1,
        };
        Some((place, missing))
    }

    /// Takes note that the record of this place is handled, and so all before it in its lane.
    pub(super) fn handled(&mut self, place: Place) {
        if let Some(state) = self.current(place) {
            state.handled = Some(place.next);
        }
    }

    /// What is handled and not flushed.
    pub(super) fn unflushed(&self) -> Marks {
        self.marks(|lane| lane.handled.filter(|_| lane.handled != lane.flushed))
    }

    /// Takes note that no handler holds in memory what lies below.
    pub(super) fn flushed(&mut self, marks: &Marks) {
        for mark in &marks.0 {
            if let Some(state) = self.current(*mark) {
                state.flushed = Some(mark.next);
            }
        }
    }

    /// What is flushed and not kept.
    pub(super) fn unkept(&self) -> Marks {
        self.marks(|lane| lane.flushed.filter(|_| lane.flushed != lane.kept))
    }

    /// Takes note that Kafka has the positions.
    pub(super) fn kept(&mut self, marks: &Marks) {
        for mark in &marks.0 {
            if let Some(state) = self.current(*mark) {
                state.kept = Some(mark.next);
            }
        }
    }

    /// Takes note of where a lane begins and ends.
    pub(super) fn bounds(&mut self, lane: i32, bounds: (u64, u64)) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.bounds = bounds;
        }
    }

    /// Records of these lanes that are not handled.
    pub(super) fn lag(&self) -> u64 {
        let lag = |lane: &Lane| {
            let (begin, end) = lane.bounds;
            end.saturating_sub(lane.handled.unwrap_or(begin))
        };
        self.lanes.values().map(lag).sum()
    }

    /// How far each lane is handled.
    pub(super) fn progress(&self) -> BTreeMap<i32, Option<u64>> {
        let handled = |(lane, state): (&i32, &Lane)| (*lane, state.handled);
        self.lanes.iter().map(handled).collect()
    }

    fn marks(&self, next: impl Fn(&Lane) -> Option<u64>) -> Marks {
        let mark = |(lane, state): (&i32, &Lane)| {
            Some(Place {
                lane: *lane,
                assignment: state.assignment,
                next: next(state)?,
            })
        };
        Marks(self.lanes.iter().filter_map(mark).collect())
    }

    fn current(&mut self, place: Place) -> Option<&mut Lane> {
        let state = self.lanes.get_mut(&place.lane)?;
        (state.assignment == place.assignment).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(positions: &mut Positions, lane: i32, offset: u64) -> Place {
        positions.read(lane, offset).expect("its lane").0
    }

    #[test]
    fn a_position_is_kept_only_after_it_was_handled_and_flushed() {
        let mut positions = Positions::default();
        positions.assign(3, Some(7));
        let place = read(&mut positions, 3, 7);
        assert!(positions.unflushed().is_empty() && positions.unkept().is_empty());
        positions.handled(place);
        assert!(positions.unkept().is_empty());
        let flushing = positions.unflushed();
        let later = read(&mut positions, 3, 8);
        positions.handled(later);
        positions.flushed(&flushing);
        assert_eq!(positions.unkept().offsets(), [(3, 8)]);
        assert_eq!(positions.unflushed().offsets(), [(3, 9)]);
        let keeping = positions.unkept();
        positions.kept(&keeping);
        assert!(positions.unkept().is_empty());
    }

    #[test]
    fn what_was_read_under_an_earlier_assignment_moves_nothing() {
        let mut positions = Positions::default();
        positions.assign(0, None);
        let place = read(&mut positions, 0, 4);
        positions.handled(place);
        let flushing = positions.unflushed();
        positions.remove(&[0]);
        positions.handled(place);
        positions.assign(0, Some(2));
        positions.handled(place);
        positions.flushed(&flushing);
        assert!(positions.unflushed().is_empty() && positions.unkept().is_empty());
        assert_eq!(positions.progress(), BTreeMap::from([(0, Some(2))]));
        assert!(positions.read(1, 0).is_none());
    }

    #[test]
    fn records_that_are_missing_are_counted_and_a_lane_may_go_back() {
        let mut positions = Positions::default();
        positions.assign(0, Some(10));
        assert_eq!(positions.read(0, 15).map(|it| it.1), Some(5));
        assert_eq!(positions.read(0, 16).map(|it| it.1), Some(0));
        let (place, missing) = positions.read(0, 3).expect("its lane");
        positions.handled(place);
        assert_eq!(
            (missing, positions.unflushed().offsets()),
            (0, vec![(0, 4)])
        );
        positions.assign(1, None);
        assert_eq!(positions.read(1, 90).map(|it| it.1), Some(0));
    }

    #[test]
    fn lag_is_what_lies_between_the_handled_and_the_end() {
        let mut positions = Positions::default();
        positions.assign(0, Some(4));
        positions.assign(1, None);
        positions.bounds(0, (0, 10));
        positions.bounds(1, (5, 7));
        positions.bounds(2, (0, 100));
        assert_eq!(positions.lag(), 6 + 2);
        let place = read(&mut positions, 0, 11);
        positions.handled(place);
        assert_eq!(positions.lag(), 2);
    }
}
