//! Commands that were taken and have no receipt: in order, each with a deadline.

use std::collections::{HashMap, VecDeque};

/// The places between the first and the last item, for each item that may wait.
const PLACES_PER_ITEM: usize = 64;

/// Items by correlation, which rises in the order in which they were taken. Every item waits equally long from when it came, so the first is, but
/// for moments, the first to expire.
#[derive(Debug)]
pub struct InFlight<T> {
    /// The first slot's correlation.
    first: u64,
    /// None: it has had its receipt. The first is always there.
    slots: VecDeque<Option<Slot<T>>>,
    /// The correlation of the next to be sent.
    next_to_send: u64,
    /// How many slots are filled.
    filled: usize,
    /// How many of these are under way.
    under_way: usize,
}

#[derive(Debug)]
struct Slot<T> {
    item: T,
    deadline_ms: u64,
    /// Sent by the stream that stands, and not answered.
    under_way: bool,
    /// Sent by a stream that has ended, and not answered: it may have been decided.
    in_doubt: bool,
}

/// An item that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Sending<'a, T> {
    /// Its correlation.
    pub correlation: u64,
    /// The item.
    pub item: &'a T,
    /// It was sent before, by a stream that has ended: it may have been decided.
    pub again: bool,
}

impl<T> Default for InFlight<T> {
    fn default() -> Self {
        Self {
            first: 1,
            slots: VecDeque::new(),
            next_to_send: 1,
            filled: 0,
            under_way: 0,
        }
    }
}

impl<T> InFlight<T> {
    /// Takes an item, to be sent after those before it.
    pub fn push(&mut self, item: T, deadline_ms: u64) {
        self.slots.push_back(Some(Slot {
            item,
            deadline_ms,
            under_way: false,
            in_doubt: false,
        }));
        self.filled += 1;
    }

    /// The next item to be sent.
    pub fn send_next(&mut self) -> Option<Sending<'_, T>> {
        loop {
            let at = usize::try_from(self.next_to_send.checked_sub(self.first)?).ok()?;
            if at >= self.slots.len() {
                return None;
            }
            self.next_to_send += 1;
            if self.slots.get(at)?.is_some() {
                let slot = self.slots.get_mut(at)?.as_mut()?;
                slot.under_way = true;
                self.under_way += 1;
                return Some(Sending {
                    correlation: self.next_to_send - 1,
                    again: slot.in_doubt,
                    item: &slot.item,
                });
            }
        }
    }

    /// Whether an item waits to be sent.
    pub fn has_next(&self) -> bool {
        self.next_to_send < self.first + self.slots.len() as u64
    }

    /// What was sent counts as not sent: the stream that it went by has ended.
    pub fn rewind(&mut self) {
        let sent = usize::try_from(self.next_to_send - self.first).unwrap_or(usize::MAX);
        for slot in self.slots.iter_mut().take(sent).flatten() {
            slot.in_doubt |= std::mem::take(&mut slot.under_way);
        }
        self.under_way = 0;
        self.next_to_send = self.first;
    }

    /// The item was given back by whoever it was sent to: it was not decided there. It stays, to be sent again after the next [`rewind`](Self::rewind).
    pub fn give_back(&mut self, correlation: u64) {
        if let Some(slot) = self.slot_mut(correlation)
            && std::mem::take(&mut slot.under_way)
        {
            self.under_way -= 1;
        }
    }

    /// How many items were sent, and neither answered nor given back.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many items wait for their receipts, sent or not.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// The items that were sent and are not alone in that in their lane, by correlation.
    ///
    /// If the stream that they went by has lost receipts, the first of a lane may have been refused for good and the next have its place:
    /// sent again, the first would come after the next. One that is alone has nothing behind it.
    pub fn sent_in_company(&self, lane: impl Fn(&T) -> u64) -> Vec<u64> {
        let sent = || {
            (self.first..self.next_to_send)
                .zip(&self.slots)
                .filter_map(|(correlation, slot)| Some((correlation, lane(&slot.as_ref()?.item))))
        };
        let mut of_lane: HashMap<u64, usize> = HashMap::new();
        for (_, lane) in sent() {
            *of_lane.entry(lane).or_default() += 1;
        }
        sent()
            .filter(|(_, lane)| of_lane.get(lane).is_some_and(|count| *count > 1))
            .map(|(correlation, _)| correlation)
            .collect()
    }

    /// The item of a receipt; `None` if it has had one, or expired.
    pub fn settle(&mut self, correlation: u64) -> Option<T> {
        let at = usize::try_from(correlation.checked_sub(self.first)?).ok()?;
        let settled = self.slots.get_mut(at)?.take()?;
        self.filled -= 1;
        self.under_way -= usize::from(settled.under_way);
        self.tidy();
        Some(settled.item)
    }

    /// The first item, if its time is over.
    pub fn expire(&mut self, now_ms: u64) -> Option<T> {
        let passed = self
            .next_deadline_ms()
            .is_some_and(|deadline| deadline <= now_ms);
        if !passed {
            return None;
        }
        self.settle(self.first)
    }

    /// When the first item expires.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.slots.front()?.as_ref().map(|slot| slot.deadline_ms)
    }

    /// Takes the first item, whatever its deadline.
    pub fn pop(&mut self) -> Option<T> {
        self.settle(self.first)
    }

    /// The item, if it waits for its receipt.
    pub fn get(&self, correlation: u64) -> Option<&T> {
        let at = usize::try_from(correlation.checked_sub(self.first)?).ok()?;
        self.slots.get(at)?.as_ref().map(|slot| &slot.item)
    }

    /// How many more may be taken, if `max` may wait. A receipt that is late holds up others only when very many came after it.
    pub fn room(&self, max: usize) -> usize {
        let places = max
            .saturating_mul(PLACES_PER_ITEM)
            .saturating_sub(self.slots.len());
        max.saturating_sub(self.filled).min(places)
    }

    /// Whether nothing waits for a receipt.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn slot_mut(&mut self, correlation: u64) -> Option<&mut Slot<T>> {
        let at = usize::try_from(correlation.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at)?.as_mut()
    }

    fn tidy(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        self.next_to_send = self.next_to_send.max(self.first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> InFlight<&'static str> {
        let mut items = InFlight::default();
        for (item, deadline) in [("a", 10), ("b", 20), ("c", 20)] {
            items.push(item, deadline);
        }
        items
    }

    fn sent<T: Copy>(items: &mut InFlight<T>) -> Vec<(u64, T)> {
        std::iter::from_fn(|| items.send_next().map(|it| (it.correlation, *it.item))).collect()
    }

    #[test]
    fn a_broken_stream_s_items_are_sent_again_in_order_but_for_those_with_receipts() {
        let mut items = filled();
        assert_eq!(sent(&mut items), [(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(items.settle(2), Some("b"));
        assert_eq!(items.settle(2), None);
        items.push("d", 30);
        assert!(items.has_next());
        items.rewind();
        assert_eq!(sent(&mut items), [(1, "a"), (3, "c"), (4, "d")]);
        assert!(!items.has_next());
    }

    #[test]
    fn items_expire_in_order_and_their_receipts_come_too_late() {
        let mut items = filled();
        assert_eq!(items.expire(9), None);
        assert_eq!(items.expire(10), Some("a"));
        assert_eq!(items.expire(10), None);
        assert_eq!(items.next_deadline_ms(), Some(20));
        assert_eq!(items.settle(1), None);
        assert_eq!(sent(&mut items), [(2, "b"), (3, "c")]);
        assert_eq!(
            (items.pop(), items.pop(), items.pop()),
            (Some("b"), Some("c"), None)
        );
        assert!(items.is_empty());
        items.push("d", 40);
        assert_eq!(sent(&mut items), [(4, "d")]);
    }

    #[test]
    fn receipts_of_the_first_items_give_their_places_back() {
        let mut items = filled();
        sent(&mut items);
        assert_eq!(items.settle(2), Some("b"));
        assert_eq!((items.slots.len(), items.room(3)), (3, 1));
        assert_eq!(items.settle(1), Some("a"));
        assert_eq!((items.slots.len(), items.room(3)), (1, 2));
        for unknown in [0, 1, 4, u64::MAX] {
            assert_eq!(items.settle(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_was_given_back_is_in_no_doubt_unless_an_earlier_stream_left_it_open() {
        let mut items = filled();
        sent(&mut items);
        assert_eq!((items.under_way(), items.len()), (3, 3));
        items.give_back(1);
        items.give_back(1);
        items.settle(3);
        assert_eq!((items.under_way(), items.len()), (1, 2), "b alone");
        items.rewind();
        let again: Vec<_> = std::iter::from_fn(|| items.send_next().map(|it| it.again)).collect();
        assert_eq!(again, [false, true], "a was given back, b was not");
        items.give_back(2);
        items.rewind();
        items.send_next();
        assert!(
            items.send_next().expect("b").again,
            "the first stream left it open"
        );
    }

    #[test]
    fn what_was_sent_with_others_of_its_lane_is_told_from_what_was_alone() {
        let mut items = InFlight::default();
        for item in ["a1", "b1", "a2", "c1", "a3", "c2"] {
            items.push(item, 10);
        }
        let lane = |item: &&str| u64::from(item.as_bytes()[0]);
        assert!(items.sent_in_company(lane).is_empty(), "nothing was sent");
        for _ in 0..5 {
            items.send_next();
        }
        assert_eq!(items.sent_in_company(lane), [1, 3, 5], "c2 was not sent");
        items.settle(1);
        items.settle(3);
        assert!(items.sent_in_company(lane).is_empty());
    }
}
