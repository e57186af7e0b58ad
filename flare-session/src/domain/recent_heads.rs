//! The heads that moved of late, and where in the stream they moved.

use std::collections::{HashMap, VecDeque};

use flare_server_core::event_bus::Frontier;
use flare_storage_model::ConversationKey;

use super::head::{Head, LastMessage, OrdinalWindow, StreamEvent};

/// Heads of conversations whose events came by, each with the position at which it last moved.
///
/// A position is that of the event in the stream where several processes follow it, and the same to each of them. A process that is alone
/// [counts](Self::count) the moves instead, across its clean restarts. `epoch` tells positions apart that do not follow from each other. What the users'
/// inboxes rely on: **every conversation that moved at a position beyond the [`horizon`](Self::horizon) is here, with the position of its last move.** It
/// holds because a conversation is only dropped by raising the horizon beyond its last move; those that moved before it in its lane are gone by then.
///
/// A head may be incomplete: the conversation's first event in this process was not its first event. Then `seq`, `ordinal` and `time_ms` are
/// right, the rest is not, until [`fill`](Self::fill) brings a head from the store.
#[derive(Debug)]
pub struct RecentHeads {
    epoch: u64,
    frontier: Frontier,
    horizon: Frontier,
    max_heads: usize,
    max_kept_bytes: usize,
    heads: HashMap<ConversationKey, Tracked>,
    /// Moves as they came, those of a lane in the order of their positions; an entry whose position is not its head's any more is stale.
    moves: VecDeque<(u64, ConversationKey)>,
}

#[derive(Debug)]
struct Tracked {
    /// The last event taken in from the stream; what `fill` brings may be ahead of it.
    consumed: u64,
    moved: u64,
    head: Head,
    complete: bool,
    window: OrdinalWindow,
}

impl RecentHeads {
    /// Empty, at a place from which it goes on: `max_heads` bounds the conversations, `max_kept_bytes` each one's last message.
    pub fn new(epoch: u64, at: Frontier, max_heads: usize, max_kept_bytes: usize) -> Self {
        Self {
            epoch,
            horizon: at.clone(),
            frontier: at,
            max_heads: max_heads.max(1),
            max_kept_bytes,
            heads: HashMap::new(),
            moves: VecDeque::new(),
        }
    }

    /// Forgets all heads, and goes on from another place: what moved before it is not known.
    pub fn begin_anew(&mut self, at: &Frontier) {
        *self = Self::new(self.epoch, at.clone(), self.max_heads, self.max_kept_bytes);
    }

    /// Which positions these are.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Before it lies what was taken in.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Moves beyond it are all known.
    pub const fn horizon(&self) -> &Frontier {
        &self.horizon
    }

    /// How many moves were counted, which is the position of the next one that is.
    pub fn count(&self) -> u64 {
        self.frontier.next(0)
    }

    /// How many conversations are here.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether none is here.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// What stands in the stream at this position is taken in, and moves nothing.
    pub fn pass(&mut self, position: u64) {
        self.frontier.advance(position);
    }

    /// Takes an event in, which stands at this position, or is counted there. An event that was seen already changes nothing; false says so.
    pub fn observe(&mut self, event: &StreamEvent, position: u64) -> bool {
        if let Some(tracked) = self.heads.get_mut(&event.key) {
            if event.seq <= tracked.consumed {
                return false;
            }
            tracked.take(event, position, self.max_kept_bytes);
        } else {
            let mut tracked = Tracked {
                consumed: 0,
                moved: position,
                head: Head {
                    seq: event.seq - 1,
                    ..Head::default()
                },
                complete: false,
                window: OrdinalWindow::default(),
            };
            tracked.take(event, position, self.max_kept_bytes);
            self.heads.insert(event.key.clone(), tracked);
        }
        self.moved(position, &event.key);
        true
    }

    /// The conversation changed in another way than by an event that came by: it counts as moved.
    pub fn touch(&mut self, key: &ConversationKey) {
        let position = self.count();
        match self.heads.get_mut(key) {
            Some(tracked) => tracked.moved = position,
            None => {
                let tracked = Tracked {
                    consumed: 0,
                    moved: position,
                    head: Head::default(),
                    complete: false,
                    window: OrdinalWindow::default(),
                };
                self.heads.insert(key.clone(), tracked);
            }
        }
        self.moved(position, key);
    }

    fn moved(&mut self, position: u64, key: &ConversationKey) {
        self.frontier.advance(position);
        self.moves.push_back((position, key.clone()));
        self.evict();
    }

    /// Whether the conversation moved at a position beyond `from`, which must include the horizon.
    pub fn moved_since(&self, key: &ConversationKey, from: &Frontier) -> bool {
        let tracked = self.heads.get(key);
        tracked.is_some_and(|it| !from.is_beyond(it.moved))
    }

    /// The conversation's whole head, if it is here.
    pub fn get(&self, key: &ConversationKey) -> Option<&Head> {
        self.heads
            .get(key)
            .filter(|it| it.complete)
            .map(|it| &it.head)
    }

    /// Seq and ordinal of the newest event that is known, if any is.
    pub fn newest(&self, key: &ConversationKey) -> Option<(u64, u64)> {
        self.heads.get(key).map(|it| (it.head.seq, it.head.ordinal))
    }

    /// The ordinal at a seq, if it is near enough to the head.
    pub fn ordinal_at(&self, key: &ConversationKey, seq: u64) -> Option<u64> {
        let tracked = self.heads.get(key)?;
        tracked
            .window
            .ordinal_at(seq, tracked.head.seq, tracked.head.ordinal)
    }

    /// Takes a head from the store for a conversation that moved of late; others are not kept. A head that is older than what is here is
    /// left alone.
    pub fn fill(&mut self, key: &ConversationKey, stored: &Head) {
        let max = self.max_kept_bytes;
        if let Some(tracked) = self
            .heads
            .get_mut(key)
            .filter(|it| stored.seq >= it.head.seq)
        {
            if stored.seq > tracked.head.seq {
                tracked.window = OrdinalWindow::default();
            }
            tracked.complete = true;
            tracked.head = stored.clone();
            if let Some(LastMessage { encoded, .. }) = &mut tracked.head.last_message {
                *encoded = encoded.take().filter(|it| it.len() <= max);
            }
        }
    }

    fn evict(&mut self) {
        while self.heads.len() > self.max_heads {
            let Some((position, key)) = self.moves.pop_front() else {
                return;
            };
            if self.heads.get(&key).is_some_and(|it| it.moved == position) {
                self.heads.remove(&key);
                self.horizon.advance(position);
            }
        }
        // Stale entries are dropped when they outnumber the others: constant work per event on average.
        if self.moves.len() > 2 * self.heads.len() + 1_024 {
            let heads = &self.heads;
            self.moves
                .retain(|(position, key)| heads.get(key).is_some_and(|it| it.moved == *position));
        }
    }
}

impl Tracked {
    fn take(&mut self, event: &StreamEvent, position: u64, max_kept_bytes: usize) {
        self.consumed = event.seq;
        self.moved = position;
        if event.seq == 1 && self.head.seq == 0 {
            self.complete = true;
        }
        if event.seq <= self.head.seq {
            // A head from the store was ahead of the stream.
            return;
        }
        if event.seq > self.head.seq + 1 {
            self.complete = false;
            self.head = Head::default();
            self.window = OrdinalWindow::default();
        }
        self.head.apply(event, max_kept_bytes);
        self.window.push(event.countable);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::head::tests::message, *};

    fn key(id: &str) -> ConversationKey {
        ConversationKey::new("default", id)
    }

    fn counting(from: u64, max_heads: usize) -> RecentHeads {
        RecentHeads::new(1, Frontier::single(from), max_heads, 100)
    }

    fn observe(heads: &mut RecentHeads, id: &str, seq: u64, ordinal: u64) -> bool {
        heads.observe(&message(id, seq, ordinal), heads.count())
    }

    #[test]
    fn an_event_that_comes_again_moves_nothing() {
        let mut heads = counting(0, 10);
        assert!(observe(&mut heads, "a", 1, 1));
        assert!(observe(&mut heads, "a", 2, 2));
        assert!(!observe(&mut heads, "a", 1, 1));
        assert_eq!(heads.count(), 2);
        assert_eq!(heads.get(&key("a")).map(|it| it.seq), Some(2));
    }

    #[test]
    fn moves_are_known_above_the_horizon() {
        let mut heads = counting(40, 2);
        observe(&mut heads, "a", 1, 1);
        observe(&mut heads, "b", 1, 1);
        observe(&mut heads, "a", 2, 2);
        assert_eq!((heads.horizon().next(0), heads.len()), (40, 2));
        observe(&mut heads, "c", 1, 1);
        // b was the second to move, and is gone.
        assert_eq!((heads.horizon().next(0), heads.len()), (42, 2));
        assert!(heads.moved_since(&key("a"), &Frontier::single(42)));
        assert!(!heads.moved_since(&key("a"), &Frontier::single(43)));
        assert!(heads.moved_since(&key("c"), &Frontier::single(43)));
    }

    #[test]
    fn a_conversation_that_was_met_halfway_is_incomplete_until_it_is_filled() {
        let mut heads = counting(0, 10);
        observe(&mut heads, "a", 7, 5);
        assert_eq!(heads.get(&key("a")), None);
        assert_eq!(heads.newest(&key("a")), Some((7, 5)));
        heads.fill(
            &key("a"),
            &Head {
                seq: 6,
                ordinal: 4,
                ..Head::default()
            },
        );
        assert_eq!(heads.get(&key("a")), None);
        heads.fill(
            &key("a"),
            &Head {
                seq: 8,
                ordinal: 6,
                mention_all_seq: 2,
                ..Head::default()
            },
        );
        assert_eq!(heads.get(&key("a")).map(|it| it.seq), Some(8));
        // The store was ahead: the event still counts as a move, and changes nothing else.
        let before = heads.count();
        assert!(observe(&mut heads, "a", 8, 6));
        assert!(heads.moved_since(&key("a"), &Frontier::single(before)));
        observe(&mut heads, "a", 9, 7);
        let head = heads.get(&key("a")).expect("complete");
        assert_eq!((head.seq, head.ordinal, head.mention_all_seq), (9, 7, 2));
    }

    #[test]
    fn a_touched_conversation_has_moved_and_goes_on_from_its_first_event() {
        let mut heads = counting(5, 10);
        heads.touch(&key("a"));
        assert!(heads.moved_since(&key("a"), &Frontier::single(5)));
        assert_eq!(heads.get(&key("a")), None);
        observe(&mut heads, "a", 1, 1);
        assert_eq!(heads.get(&key("a")).map(|it| it.seq), Some(1));
        heads.touch(&key("a"));
        assert_eq!(heads.count(), 8);
        assert!(heads.moved_since(&key("a"), &Frontier::single(7)));
    }

    #[test]
    fn moves_of_few_conversations_take_bounded_memory() {
        let mut heads = counting(0, 10);
        (1..=10_000).for_each(|seq| {
            observe(&mut heads, "a", seq, seq);
        });
        assert!(heads.moves.len() <= 1_100, "{}", heads.moves.len());
    }

    /// Lanes of a stream, each with its own places.
    #[test]
    fn moves_of_a_stream_bear_its_positions_and_each_lane_has_a_horizon() {
        let at = |lane: u64, place: u64| lane << 48 | place;
        let begins = Frontier::of_lanes([10, 20]);
        let mut heads = RecentHeads::new(1, begins.clone(), 2, 100);
        assert!(heads.observe(&message("a", 1, 1), at(0, 10)));
        assert!(heads.observe(&message("b", 1, 1), at(1, 20)));
        let before = heads.frontier().clone();
        assert_eq!(before, Frontier::of_lanes([11, 21]));
        // It comes again at another place.
        assert!(!heads.observe(&message("a", 1, 1), at(0, 11)));
        heads.pass(at(0, 11));
        assert!(!heads.moved_since(&key("a"), &before));
        assert!(heads.moved_since(&key("a"), &begins) && heads.moved_since(&key("b"), &begins));
        assert!(heads.observe(&message("c", 1, 1), at(1, 21)));
        assert_eq!(*heads.horizon(), Frontier::of_lanes([11, 20]));
        assert!(!heads.moved_since(&key("b"), &before) && heads.moved_since(&key("c"), &before));
        let anew = Frontier::of_lanes([50, 60]);
        heads.begin_anew(&anew);
        assert!(heads.is_empty());
        assert_eq!((heads.horizon(), heads.frontier()), (&anew, &anew));
    }
}
