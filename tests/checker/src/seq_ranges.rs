//! A set of seqs, kept as ranges: a view without gaps costs one pair, however long it is.

/// Disjoint, ascending, not adjacent; both ends belong to a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeqRanges(Vec<(u64, u64)>);

impl SeqRanges {
    /// False if the seq was there.
    pub(crate) fn insert(&mut self, seq: u64) -> bool {
        match self.0.last_mut() {
            None => {
                self.0.push((seq, seq));
                return true;
            }
            Some((_, hi)) if hi.checked_add(1) == Some(seq) => {
                *hi = seq;
                return true;
            }
            Some((_, hi)) if *hi < seq => {
                self.0.push((seq, seq));
                return true;
            }
            Some(_) => {}
        }
        // The first range that does not end before `seq`.
        let at = self.0.partition_point(|&(_, hi)| hi < seq);
        if self.0.get(at).is_some_and(|&(lo, _)| lo <= seq) {
            return false;
        }
        let joins_next = self.0.get(at).is_some_and(|&(lo, _)| lo - 1 == seq);
        let joins_previous = at > 0 && self.0[at - 1].1 + 1 == seq;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = seq,
            (false, true) => self.0[at].0 = seq,
            (false, false) => self.0.insert(at, (seq, seq)),
        }
        true
    }

    pub(crate) fn max(&self) -> Option<u64> {
        self.0.last().map(|&(_, hi)| hi)
    }

    #[cfg(test)]
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The parts of `lo..=hi` that are not in the set.
    pub(crate) fn missing(&self, lo: u64, hi: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut next = lo;
        let first = self.0.partition_point(|&(_, end)| end < lo);
        for &(start, end) in &self.0[first..] {
            if next > hi || start > hi {
                break;
            }
            if start > next {
                holes.push((next, start - 1));
            }
            match end.checked_add(1) {
                Some(after) => next = after,
                None => return holes,
            }
        }
        if next <= hi {
            holes.push((next, hi));
        }
        holes
    }

    /// The first member of the set that lies in none of `allowed`.
    pub(crate) fn first_outside(&self, allowed: &[(u64, u64)]) -> Option<u64> {
        self.0.iter().find_map(|&(lo, hi)| {
            let mut next = lo;
            // `allowed` may overlap and is short: repeat until no interval moves the mark.
            while let Some(&(_, end)) = allowed
                .iter()
                .find(|&&(start, end)| start <= next && next <= end)
            {
                match end.checked_add(1) {
                    Some(after) => next = after,
                    None => return None,
                }
            }
            (next <= hi).then_some(next)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seqs: &[u64]) -> SeqRanges {
        let mut set = SeqRanges::default();
        for &seq in seqs {
            set.insert(seq);
        }
        set
    }

    #[test]
    fn joins_neighbours_in_any_order() {
        assert_eq!(of(&[5, 1, 3, 2, 4]).ranges(), [(1, 5)]);
        assert_eq!(of(&[1, 2, 9, 8, 5]).ranges(), [(1, 2), (5, 5), (8, 9)]);
        assert_eq!(
            of(&[0, u64::MAX, u64::MAX - 1]).ranges(),
            [(0, 0), (u64::MAX - 1, u64::MAX)]
        );
    }

    #[test]
    fn says_whether_a_seq_is_its_first() {
        let mut set = of(&[1, 2, 5]);
        assert!(!set.insert(2));
        assert!(!set.insert(5));
        assert!(set.insert(4));
    }

    #[test]
    fn names_what_is_missing() {
        let set = of(&[2, 3, 6]);
        assert_eq!(set.missing(1, 7), [(1, 1), (4, 5), (7, 7)]);
        assert_eq!(set.missing(2, 3), []);
        assert_eq!(set.missing(4, 4), [(4, 4)]);
        assert_eq!(set.missing(5, 4), []);
        assert_eq!(of(&[u64::MAX]).missing(1, u64::MAX), [(1, u64::MAX - 1)]);
    }

    #[test]
    fn finds_what_lies_outside() {
        let set = of(&[1, 2, 3, 7]);
        assert_eq!(set.first_outside(&[(1, 3), (7, 9)]), None);
        assert_eq!(set.first_outside(&[(1, 2), (7, 9)]), Some(3));
        assert_eq!(set.first_outside(&[(2, u64::MAX)]), Some(1));
        assert_eq!(set.first_outside(&[(3, 9), (1, 4)]), None);
        assert_eq!(set.first_outside(&[]), Some(1));
    }
}
