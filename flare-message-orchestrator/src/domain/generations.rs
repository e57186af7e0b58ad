//! A map in many small parts. Filling one large table stalls its owner while it grows; and what is oldest goes with its whole part.

use std::{
    borrow::Borrow,
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hash},
};

/// A bounded memory of the log: entries know up to which offset the log explains them, so that only what the store holds is forgotten.
#[derive(Debug)]
pub(crate) struct Generations<K, V, S> {
    /// Oldest first, at least one. A key may stand in several: the newest is right.
    parts: VecDeque<Generation<K, V, S>>,
    /// The number of the oldest part; they count on.
    oldest: u64,
    /// Entries of a part.
    part_entries: usize,
    /// Above so many entries, the oldest part may go.
    max_entries: usize,
    hasher: S,
}

#[derive(Debug)]
struct Generation<K, V, S> {
    entries: HashMap<K, V, S>,
    /// All entries come from records below this offset.
    end_offset: u64,
    /// No entry comes from a later time, in Unix milliseconds.
    latest_ms: i64,
}

/// What was forgotten: everything that the log said below `end_offset`, up to `latest_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) end_offset: u64,
    pub(crate) latest_ms: i64,
}

impl<K: Hash + Eq, V, S: BuildHasher + Clone> Generations<K, V, S> {
    pub(crate) fn new(max_entries: usize, part_entries: usize, hasher: S) -> Self {
        let mut new = Self {
            parts: VecDeque::new(),
            oldest: 0,
            part_entries: part_entries.max(1),
            max_entries,
            hasher,
        };
        new.begin_part();
        new
    }

    fn begin_part(&mut self) {
        let entries = HashMap::with_hasher(self.hasher.clone());
        self.parts.push_back(Generation {
            entries,
            end_offset: 0,
            latest_ms: i64::MIN,
        });
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.parts.iter().rev().find_map(|it| it.entries.get(key))
    }

    /// The number of the newest part. What is put from here on goes into it or into later ones.
    pub(crate) fn newest_part(&self) -> u64 {
        self.oldest + self.parts.len() as u64 - 1
    }

    /// Like [`Self::get`], for a key that was in no part before `part`.
    pub(crate) fn get_since(&self, key: &K, part: u64) -> Option<&V> {
        let skipped = usize::try_from(part.saturating_sub(self.oldest)).unwrap_or(usize::MAX);
        let parts = self.parts.iter().skip(skipped);
        parts.rev().find_map(|it| it.entries.get(key))
    }

    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.parts
            .iter_mut()
            .rev()
            .find_map(|it| it.entries.get_mut(key))
    }

    /// Puts an entry that records below `end_offset`, not after `time_ms`, explain.
    pub(crate) fn put(&mut self, key: K, value: V, end_offset: u64, time_ms: i64) {
        if self
            .parts
            .back()
            .is_none_or(|it| it.entries.len() >= self.part_entries)
        {
            self.begin_part();
        }
        if let Some(newest) = self.parts.back_mut() {
            newest.entries.insert(key, value);
            newest.end_offset = newest.end_offset.max(end_offset);
            newest.latest_ms = newest.latest_ms.max(time_ms);
        }
    }

    /// Changes an entry where it stands if that is the newest part; else gives it back for [`Self::put`].
    pub(crate) fn in_newest<Q>(&mut self, key: &Q, end_offset: u64, time_ms: i64) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let newest = self.parts.back_mut()?;
        let entry = newest.entries.get_mut(key)?;
        newest.end_offset = newest.end_offset.max(end_offset);
        newest.latest_ms = newest.latest_ms.max(time_ms);
        Some(entry)
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|it| it.entries.len()).sum()
    }

    /// Whether the oldest part should go, and may: the store holds all that it says.
    pub(crate) fn can_evict(&self, stored: u64) -> bool {
        #[cfg(feature = "mutants")]
        let stored = match flare_storage_model::mutants::Mutant::EvictAboveCursor.is_made() {
            true => u64::MAX,
            false => stored,
        };
        self.parts.len() > 1
            && self.len() > self.max_entries
            && self.parts.front().is_some_and(|it| it.end_offset <= stored)
    }

    /// Forgets the oldest part but for `spared` keys. The caller has asked [`Self::can_evict`].
    pub(crate) fn evict<'a>(&mut self, spared: impl Iterator<Item = &'a K>) -> Option<Forgotten>
    where
        K: Clone + 'a,
    {
        let mut oldest = self.parts.pop_front()?;
        self.oldest += 1;
        let forgotten = Forgotten {
            end_offset: oldest.end_offset,
            latest_ms: oldest.latest_ms,
        };
        #[cfg(feature = "mutants")]
        let forgotten = match flare_storage_model::mutants::Mutant::EvictAboveCursor.is_made() {
            // As if the store held it.
            true => Forgotten {
                end_offset: 0,
                ..forgotten
            },
            false => forgotten,
        };
        for key in spared {
            if let Some(value) = oldest.entries.remove(key)
                && self.get(key).is_none()
            {
                self.put(key.clone(), value, oldest.end_offset, oldest.latest_ms);
            }
        }
        Some(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;

    use super::*;

    fn filled() -> Generations<u64, u64, RandomState> {
        let mut map = Generations::new(4, 2, RandomState::new());
        for key in 0..6 {
            map.put(key, key * 10, key + 1, 100);
        }
        map
    }

    #[test]
    fn only_what_the_store_holds_is_forgotten() {
        let mut map = filled();
        assert!(!map.can_evict(1));
        assert!(map.can_evict(2));
        assert_eq!(
            map.evict([].iter()),
            Some(Forgotten {
                end_offset: 2,
                latest_ms: 100
            })
        );
        assert_eq!((map.get(&1), map.get(&2)), (None, Some(&20)));
        assert!(!map.can_evict(100), "no more than the bound");
    }

    #[test]
    fn spared_keys_stay_and_never_hide_a_newer_value() {
        let mut map = filled();
        map.put(1, 11, 7, 100);
        map.evict([0, 1].iter());
        assert_eq!((map.get(&0), map.get(&1)), (Some(&0), Some(&11)));
    }

    #[test]
    fn what_was_not_there_is_looked_for_in_what_came_since() {
        let mut map = filled();
        let part = map.newest_part();
        map.put(6, 60, 7, 100);
        map.evict([].iter());
        assert_eq!(map.get_since(&6, part), Some(&60));
        assert_eq!(map.get_since(&2, part), None, "it stands in an older part");
        assert_eq!(map.get_since(&2, 0), Some(&20));
    }

    #[test]
    fn the_newest_value_is_right() {
        let mut map = filled();
        map.put(0, 5, 9, 100);
        assert_eq!(map.get(&0), Some(&5));
        assert!(map.in_newest(&2, 9, 100).is_none());
    }
}
