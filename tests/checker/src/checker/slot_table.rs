//! What is known of each place of a conversation.

use std::collections::BTreeMap;

use crate::interner::{NO_TEXT, TextId};
use crate::record::Kind;

/// Who told of an event; each bit of [`Slot::told`] is one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Source {
    /// A receipt.
    Ack = 1,
    /// The server's store.
    Store = 2,
    /// A client that received it.
    Delivery = 4,
}

/// The event at one seq, as far as anybody told; 40 bytes, for there are as many as events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) message: TextId,
    pub(super) sender: TextId,
    pub(super) client_id: TextId,
    pub(super) body: TextId,
    /// [`NO_ORDINAL`] as long as nobody told.
    pub(super) ordinal: u64,
    /// [`NO_TIME`] as long as nobody told.
    pub(super) time_ms: i64,
    pub(super) kind: Option<Kind>,
    told: u8,
    /// The client id stands in the index of commands.
    pub(super) indexed: bool,
}

/// [`Slot::ordinal`] before anybody told.
pub(super) const NO_ORDINAL: u64 = u64::MAX;
/// [`Slot::time_ms`] before anybody told.
pub(super) const NO_TIME: i64 = i64::MIN;

impl Slot {
    const EMPTY: Self = Self {
        message: NO_TEXT,
        sender: NO_TEXT,
        client_id: NO_TEXT,
        body: NO_TEXT,
        ordinal: NO_ORDINAL,
        time_ms: NO_TIME,
        kind: None,
        told: 0,
        indexed: false,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.told == 0
    }

    pub(super) fn was_told_by(&self, source: Source) -> bool {
        self.told & source as u8 != 0
    }

    /// Only receipts spoke of it.
    pub(super) fn is_only_acked(&self) -> bool {
        self.told == Source::Ack as u8
    }

    pub(super) fn tell(&mut self, source: Source) {
        self.told |= source as u8;
    }
}

/// Slots by seq. Seqs run from 1, so a vector holds them; what lies far ahead waits in a tree, so that one absurd seq
/// costs no memory.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    /// The slot of seq `n` at `n - 1`.
    dense: Vec<Slot>,
    /// Only seqs above the vector's.
    sparse: BTreeMap<u64, Slot>,
}

impl SlotTable {
    /// How far above its end a seq makes the vector grow.
    const STEP: u64 = 64;

    /// The slot of a seq ≥ 1, empty if nobody told of it.
    pub(super) fn at(&mut self, seq: u64) -> &mut Slot {
        let len = self.dense.len() as u64;
        if seq > len {
            if seq - len > Self::STEP {
                return self.sparse.entry(seq).or_insert(Slot::EMPTY);
            }
            self.dense.resize(seq as usize, Slot::EMPTY);
            while let Some(entry) = self
                .sparse
                .first_entry()
                .filter(|entry| *entry.key() <= seq)
            {
                let (seq, slot) = entry.remove_entry();
                self.dense[seq as usize - 1] = slot;
            }
        }
        &mut self.dense[seq as usize - 1]
    }

    /// What was told of `lo..=hi`, by rising seq.
    pub(super) fn range(&self, lo: u64, hi: u64) -> impl Iterator<Item = (u64, &Slot)> {
        let len = self.dense.len() as u64;
        let start = lo.saturating_sub(1).min(len);
        let end = hi.min(len).max(start);
        let dense = self.dense[start as usize..end as usize]
            .iter()
            .zip(start + 1..)
            .map(|(slot, seq)| (seq, slot));
        let sparse = (lo <= hi)
            .then(|| self.sparse.range(lo..=hi))
            .into_iter()
            .flatten()
            .map(|(&seq, slot)| (seq, slot));
        dense.chain(sparse).filter(|(_, slot)| !slot.is_empty())
    }

    /// All that was told, by rising seq.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Slot)> {
        self.range(1, u64::MAX)
    }

    /// The highest seq that anybody told of, or 0.
    pub(super) fn max_seq(&self) -> u64 {
        match self.sparse.last_key_value() {
            Some((&seq, _)) => seq,
            None => self.dense.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(seqs: &[u64]) -> SlotTable {
        let mut table = SlotTable::default();
        for &seq in seqs {
            let slot = table.at(seq);
            slot.message = seq as TextId;
            slot.tell(Source::Store);
        }
        table
    }

    #[test]
    fn keeps_the_order_whatever_the_arrival() {
        let table = fill(&[900, 3, 1, u64::MAX, 2, 40, 70, 120]);
        let seqs: Vec<_> = table.iter().map(|(seq, _)| seq).collect();
        assert_eq!(seqs, [1, 2, 3, 40, 70, 120, 900, u64::MAX]);
        assert_eq!(table.max_seq(), u64::MAX);
    }

    #[test]
    fn what_waited_far_ahead_is_found_once_the_vector_reaches_it() {
        let mut seqs = vec![300];
        seqs.extend(1..=299);
        let mut table = fill(&seqs);
        assert_eq!(table.at(300).message, 300);
        assert!(table.sparse.is_empty());
        assert_eq!(table.iter().count(), 300);
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let table = fill(&[1, 2, 3, 4, 500]);
        let of = |lo, hi| table.range(lo, hi).map(|(seq, _)| seq).collect::<Vec<_>>();
        assert_eq!(of(2, 3), [2, 3]);
        assert_eq!(of(4, 500), [4, 500]);
        assert!(of(5, 4).is_empty());
        assert!(of(600, u64::MAX).is_empty());
    }
}
