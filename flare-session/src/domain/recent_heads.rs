//! The heads that moved of late, and where in the stream they moved.

use std::collections::{HashMap, VecDeque};

use flare_storage_model::ConversationKey;

use super::head::{Head, LastMessage, OrdinalWindow, StreamEvent};

/// Heads of conversations whose events came by, each with the position at which it last moved.
///
/// A position is the number of moves so far, counted across clean restarts of the process (`epoch` tells runs apart that
/// do not follow from each other). What the users' inboxes rely on: **every conversation that moved at a position above
/// [`horizon`](Self::horizon) is here, with the position of its last move.** It holds because a conversation is only dropped by
/// raising the horizon to the position of its last move.
///
/// A head may be incomplete: the conversation's first event in this process was not its first event. Then `seq`, `ordinal` and `time_ms` are
/// right, the rest is not, until [`fill`](Self::fill) brings a head from the store.
#[derive(Debug)]
pub struct RecentHeads {
    epoch: u64,
    position: u64,
    horizon: u64,
    max_heads: usize,
    max_kept_bytes: usize,
    heads: HashMap<ConversationKey, Tracked>,
    /// Moves in the order of their positions; an entry whose position is not its head's any more is stale.
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
    /// Empty, at a position from which the count goes on: `max_heads` bounds the conversations, `max_kept_bytes` each one's last message.
    pub fn new(epoch: u64, position: u64, max_heads: usize, max_kept_bytes: usize) -> Self {
        Self {
            epoch,
            position,
            horizon: position,
            max_heads: max_heads.max(1),
            max_kept_bytes,
            heads: HashMap::new(),
            moves: VecDeque::new(),
        }
    }

    /// Which run of the count the positions belong to.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many moves there were.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Moves above it are all known.
    pub const fn horizon(&self) -> u64 {
        self.horizon
    }

    /// How many conversations are here.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether none is here.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Takes an event in. An event that was seen already changes nothing; false says so.
    pub fn observe(&mut self, event: &StreamEvent) -> bool {
        let position = self.position + 1;
        if let Some(tracked) = self.heads.get_mut(&event.key) {
            if event.seq <= tracked.consumed {
                return false;
            }
            tracked.take(event, position, self.max_kept_bytes);
        } else {
            let mut tracked = Tracked {
                consumed: 0,
                moved: 0,
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
        self.position = position;
        self.moves.push_back((position, event.key.clone()));
        self.evict();
        true
    }

    /// The conversation changed in another way than by an event that came by: it counts as moved.
    pub fn touch(&mut self, key: &ConversationKey) {
        let position = self.position + 1;
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
        self.position = position;
        self.moves.push_back((position, key.clone()));
        self.evict();
    }

    /// Whether the conversation moved after `position`, which must not be below the horizon.
    pub fn moved_since(&self, key: &ConversationKey, position: u64) -> bool {
        self.heads.get(key).is_some_and(|it| it.moved > position)
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
                self.horizon = position;
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

    #[test]
    fn an_event_that_comes_again_moves_nothing() {
        let mut heads = RecentHeads::new(1, 0, 10, 100);
        assert!(heads.observe(&message("a", 1, 1)));
        assert!(heads.observe(&message("a", 2, 2)));
        assert!(!heads.observe(&message("a", 1, 1)));
        assert_eq!(heads.position(), 2);
        assert_eq!(heads.get(&key("a")).map(|it| it.seq), Some(2));
    }

    #[test]
    fn moves_are_known_above_the_horizon() {
        let mut heads = RecentHeads::new(1, 40, 2, 100);
        heads.observe(&message("a", 1, 1));
        heads.observe(&message("b", 1, 1));
        heads.observe(&message("a", 2, 2));
        assert_eq!((heads.horizon(), heads.len()), (40, 2));
        heads.observe(&message("c", 1, 1));
        // b moved at 42 and is gone.
        assert_eq!((heads.horizon(), heads.len()), (42, 2));
        assert!(heads.moved_since(&key("a"), 42));
        assert!(!heads.moved_since(&key("a"), 43));
        assert!(heads.moved_since(&key("c"), 43));
    }

    #[test]
    fn a_conversation_that_was_met_halfway_is_incomplete_until_it_is_filled() {
        let mut heads = RecentHeads::new(1, 0, 10, 100);
        heads.observe(&message("a", 7, 5));
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
        let before = heads.position();
        assert!(heads.observe(&message("a", 8, 6)));
        assert!(heads.moved_since(&key("a"), before));
        heads.observe(&message("a", 9, 7));
        let head = heads.get(&key("a")).expect("complete");
        assert_eq!((head.seq, head.ordinal, head.mention_all_seq), (9, 7, 2));
    }

    #[test]
    fn a_touched_conversation_has_moved_and_goes_on_from_its_first_event() {
        let mut heads = RecentHeads::new(1, 5, 10, 100);
        heads.touch(&key("a"));
        assert!(heads.moved_since(&key("a"), 5));
        assert_eq!(heads.get(&key("a")), None);
        heads.observe(&message("a", 1, 1));
        assert_eq!(heads.get(&key("a")).map(|it| it.seq), Some(1));
        heads.touch(&key("a"));
        assert_eq!(heads.position(), 8);
        assert!(heads.moved_since(&key("a"), 7));
    }

    #[test]
    fn moves_of_few_conversations_take_bounded_memory() {
        let mut heads = RecentHeads::new(1, 0, 10, 100);
        (1..=10_000).for_each(|seq| {
            heads.observe(&message("a", seq, seq));
        });
        assert!(heads.moves.len() <= 1_100, "{}", heads.moves.len());
    }
}
