//! How far a topic was read.

/// Bits of a position that are the place in its lane.
const PLACE_BITS: u32 = 48;
/// What a topic has of lanes at most.
const MAX_LANES: usize = 1 << (u64::BITS - PLACE_BITS);

/// A position that is place `place` of lane `lane`: it ascends in a lane, and so for a key.
#[cfg(feature = "cluster")]
pub(super) const fn position(lane: u16, place: u64) -> u64 {
    (lane as u64) << PLACE_BITS | place
}

const fn split(position: u64) -> (usize, u64) {
    (
        (position >> PLACE_BITS) as usize,
        position & ((1 << PLACE_BITS) - 1),
    )
}

/// Which records of a topic lie before it, and which do not. Records that share a lane stand in one order, by their positions; between lanes there is none, so that
/// a frontier has a place in each.
///
/// Good for as long as the topic is, in every process that reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// By lane: the place of the next record. 0 where there is none.
    next: Vec<u64>,
}

impl Frontier {
    /// The frontier of a topic of one lane: all before `place` lies before it.
    pub fn single(place: u64) -> Self {
        Self { next: vec![place] }
    }

    /// The place of the next record, in a topic of one lane.
    pub fn as_single(&self) -> Option<u64> {
        match self.next[..] {
            [place] => Some(place),
            _ => None,
        }
    }

    /// By lane, the place of the next record.
    pub fn of_lanes(next: impl IntoIterator<Item = u64>) -> Self {
        Self {
            next: next.into_iter().take(MAX_LANES).collect(),
        }
    }

    /// The place of the next record of a lane.
    pub fn next(&self, lane: u16) -> u64 {
        self.next.get(usize::from(lane)).copied().unwrap_or(0)
    }

    /// Whether the record of this position lies before it.
    pub fn is_beyond(&self, position: u64) -> bool {
        let (lane, place) = split(position);
        self.next.get(lane).is_some_and(|next| place < *next)
    }

    /// Whether all that lies before `other` lies before it.
    pub fn includes(&self, other: &Self) -> bool {
        let mut lanes = other.next.iter().enumerate();
        lanes.all(|(lane, next)| self.next.get(lane).copied().unwrap_or(0) >= *next)
    }

    /// Moves on, so that the record of this position lies before it.
    pub fn advance(&mut self, position: u64) {
        let (lane, place) = split(position);
        if self.next.len() <= lane {
            self.next.resize(lane + 1, 0);
        }
        if let Some(next) = self.next.get_mut(lane) {
            *next = (*next).max(place + 1);
        }
    }

    /// Writes it, in as few bytes as it takes: a number of lanes, and a number for each. The numbers are LEB128.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(self.next.len() as u64, out);
        self.next.iter().for_each(|next| put(*next, out));
    }

    /// Reads one from the beginning of `bytes`, and leaves what follows it. None: there is none.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut rest = *bytes;
        let lanes = usize::try_from(take(&mut rest)?).ok()?;
        // A lane takes a byte at least.
        if lanes > MAX_LANES.min(rest.len()) {
            return None;
        }
        let next = (0..lanes).map(|_| take(&mut rest));
        let next = next.collect::<Option<Vec<_>>>()?;
        *bytes = rest;
        Some(Self { next })
    }
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Only as [`put`] writes it: a number has one form.
fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, others) = rest.split_first()?;
        *rest = others;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return (shift == 0 || bits > 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_read_lies_before_and_what_comes_does_not() {
        let mut frontier = Frontier::of_lanes([5, 0, 7]);
        assert!(frontier.is_beyond(position(0, 4)) && !frontier.is_beyond(position(0, 5)));
        assert!(!frontier.is_beyond(position(1, 0)) && !frontier.is_beyond(position(9, 0)));
        let before = frontier.clone();
        frontier.advance(position(1, 3));
        frontier.advance(position(0, 2));
        assert_eq!(frontier, Frontier::of_lanes([5, 4, 7]));
        assert!(frontier.includes(&before) && !before.includes(&frontier));
        frontier.advance(position(4, 0));
        assert_eq!(frontier, Frontier::of_lanes([5, 4, 7, 0, 1]));
        assert_eq!(
            (frontier.as_single(), Frontier::single(7).as_single()),
            (None, Some(7))
        );
        assert!(Frontier::default().includes(&Frontier::of_lanes([0, 0])));
        let aside = Frontier::of_lanes([6, 0]);
        assert!(!aside.includes(&before) && !before.includes(&aside));
    }

    #[test]
    fn what_is_none_is_not_read() {
        for bytes in [
            &[][..],
            &[2, 1],
            &[1, 0x80],
            &[1, 0x80, 0],
            &[0xff; 12],
            &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            let mut rest = bytes;
            assert_eq!(Frontier::decode(&mut rest), None, "{bytes:?}");
            assert_eq!(rest, bytes);
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(next in proptest::collection::vec(any::<u64>(), 0..70), tail in any::<[u8; 3]>()) {
            let frontier = Frontier::of_lanes(next);
            let mut bytes = Vec::new();
            frontier.encode(&mut bytes);
            bytes.extend(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(Frontier::decode(&mut rest), Some(frontier));
            prop_assert_eq!(rest, &tail[..]);
        }
    }
}
