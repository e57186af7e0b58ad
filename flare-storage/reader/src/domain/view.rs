//! The part of a conversation that a reader may see.

/// From the oldest to the newest seq that he may see, both included. Empty: `head` is below `floor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The oldest.
    pub floor: u64,
    /// The newest.
    pub head: u64,
}

impl View {
    /// What is kept and committed, bounded by what the reader's membership shows (0: no bound).
    pub fn new(kept_from: u64, committed_to: u64, visible_from: u64, visible_to: u64) -> Self {
        let head = if visible_to == 0 {
            committed_to
        } else {
            committed_to.min(visible_to)
        };
        Self {
            floor: kept_from.max(visible_from).max(1),
            head,
        }
    }

    /// Where a range after `after_seq` begins, and how many events it has at most.
    pub fn range(&self, after_seq: u64, limit: usize) -> Option<(u64, usize)> {
        let first = after_seq.saturating_add(1).max(self.floor);
        let there = self.head.checked_sub(first)?.saturating_add(1);
        Some((
            first,
            limit.min(usize::try_from(there).unwrap_or(usize::MAX)),
        ))
    }

    /// Whether the reader may see this seq.
    pub fn shows(&self, seq: u64) -> bool {
        (self.floor..=self.head).contains(&seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_since_joining_sees_neither_before_nor_a_former_one_after() {
        let view = View::new(1, 100, 10, 20);
        assert_eq!(
            view,
            View {
                floor: 10,
                head: 20
            }
        );
        assert_eq!(view.range(0, 50), Some((10, 11)), "from the floor");
        assert_eq!(view.range(14, 3), Some((15, 3)));
        assert_eq!(view.range(20, 50), None);
        assert_eq!(view.range(u64::MAX, 50), None);
        assert!(!view.shows(9) && view.shows(10) && view.shows(20) && !view.shows(21));
    }

    #[test]
    fn without_bounds_all_that_is_kept_is_seen() {
        assert_eq!(View::new(5, 9, 0, 0), View { floor: 5, head: 9 });
        assert_eq!(
            View::new(1, 0, 0, 0).range(0, 10),
            None,
            "nothing was said yet"
        );
    }
}
