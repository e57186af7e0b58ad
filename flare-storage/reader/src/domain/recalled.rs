//! Which messages of a conversation were taken back, as far as its head tells.

use std::ops::RangeInclusive;

/// The recalled messages that a head names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// By rising seq: all that are above `complete_from`.
    pub seqs: Vec<u64>,
    /// Up to here there are more than the head has room for; 0: it names all.
    pub complete_from: u64,
}

impl Recalled {
    /// Those of a run; None where the head does not know and the store must be asked.
    pub fn within(&self, run: &RangeInclusive<u64>) -> Option<&[u64]> {
        if *run.start() <= self.complete_from {
            return None;
        }
        let from = self.seqs.partition_point(|it| it < run.start());
        let to = self.seqs.partition_point(|it| it <= run.end());
        self.seqs.get(from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_names_the_recalled_messages_of_a_run_where_it_knows_all() {
        let all = Recalled {
            seqs: vec![3, 7, 9],
            complete_from: 0,
        };
        assert_eq!(all.within(&(1..=9)), Some([3, 7, 9].as_slice()));
        assert_eq!(all.within(&(4..=8)), Some([7].as_slice()));
        assert_eq!(all.within(&(4..=6)), Some([].as_slice()));
        let some = Recalled {
            complete_from: 2,
            ..all
        };
        assert_eq!(some.within(&(3..=3)), Some([3].as_slice()));
        assert_eq!(some.within(&(2..=9)), None);
    }
}
