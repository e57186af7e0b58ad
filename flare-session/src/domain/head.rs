//! What a conversation's events amount to, for unread counts and lists of conversations.

use std::sync::Arc;

use bytes::Bytes;
use flare_storage_model::ConversationKey;

use super::role::Class;

/// How many recalled messages a head names; beyond, the store counts.
pub const RECALLED_IN_HEAD: usize = 64;

/// An event of the public stream, as far as this service reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// Where it stands.
    pub key: ConversationKey,
    /// Its number in the conversation.
    pub seq: u64,
    /// Countable events up to and including it.
    pub ordinal: u64,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// Of the conversation.
    pub class: Class,
    /// Direct only: both users, sorted.
    pub participants: Vec<Arc<str>>,
    /// Empty: the system.
    pub sender: Arc<str>,
    /// Whether it came over a client link: then it moves its sender's read position.
    pub from_device: bool,
    /// Whether it counts as unread.
    pub countable: bool,
    /// Users whom it mentions.
    pub mentions: Vec<Arc<str>>,
    /// Whether it mentions everybody.
    pub mention_all: bool,
    /// The seq of the message that it takes back.
    pub recalls: Option<u64>,
    /// Whether it changes who its members are.
    pub is_membership: bool,
    /// Whether it changes the conversation itself: such events come from this service's outbox.
    pub is_change: bool,
    /// Of a change, the outbox line that has become it.
    pub line: Option<Arc<str>>,
    /// The event as it came.
    pub encoded: Bytes,
}

/// The last countable event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// Its seq.
    pub seq: u64,
    /// Whose it is.
    pub sender: Arc<str>,
    /// Whether it came over a client link.
    pub from_device: bool,
    /// The event's bytes; None: too large to be kept in memory, the reader has it.
    pub encoded: Option<Bytes>,
}

/// A conversation after its event `seq`. The default is that of one without events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The newest event; 0: none.
    pub seq: u64,
    /// How many countable events there are.
    pub ordinal: u64,
    /// The newest event's time. Unix milliseconds.
    pub time_ms: i64,
    /// The newest event that changed who its members are; 0: none.
    pub member_seq: u64,
    /// Seqs of recalled messages, rising: all that are above `recalled_complete_from`.
    pub recalled: Vec<u64>,
    /// The highest recalled seq that `recalled` had no room for; 0: it names all.
    pub recalled_complete_from: u64,
    /// The seq of the last message that mentions everybody; 0: none.
    pub mention_all_seq: u64,
    /// The last countable event.
    pub last_message: Option<LastMessage>,
}

impl Head {
    /// Moves on to the next event. The caller has seen to it that it is the next one.
    pub fn apply(&mut self, event: &StreamEvent, max_kept_bytes: usize) {
        self.seq = event.seq;
        self.ordinal = event.ordinal;
        self.time_ms = event.time_ms;
        if event.is_membership {
            self.member_seq = event.seq;
        }
        if event.countable {
            self.last_message = Some(LastMessage {
                seq: event.seq,
                sender: Arc::clone(&event.sender),
                from_device: event.from_device,
                // A copy: the event's bytes may be a slice of a far larger buffer.
                encoded: (event.encoded.len() <= max_kept_bytes)
                    .then(|| Bytes::copy_from_slice(&event.encoded)),
            });
        }
        if event.mention_all {
            self.mention_all_seq = event.seq;
        }
        if let Some(target) = event.recalls {
            self.recall(target);
        }
    }

    /// How many recalled messages are above `seq`; None: the head does not know that far back.
    pub fn recalled_above(&self, seq: u64) -> Option<u64> {
        if seq < self.recalled_complete_from {
            return None;
        }
        let below = self.recalled.partition_point(|it| *it <= seq);
        Some((self.recalled.len() - below) as u64)
    }

    /// Whether the message at `seq` is recalled, as far as the head knows: always right for the last message.
    pub fn is_recalled(&self, seq: u64) -> bool {
        self.recalled.binary_search(&seq).is_ok()
    }

    fn recall(&mut self, target: u64) {
        if target <= self.recalled_complete_from {
            return;
        }
        if let Err(place) = self.recalled.binary_search(&target) {
            self.recalled.insert(place, target);
        }
        if self.recalled.len() > RECALLED_IN_HEAD {
            self.recalled_complete_from = self.recalled.remove(0);
        }
    }
}

/// Which of a conversation's newest events are countable: gives the ordinal at a seq near the head without asking the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrdinalWindow {
    /// Bit 0 is the head's event, bit 1 the one before, …
    countable: u128,
    /// How many of the bits are known.
    known: u32,
}

impl OrdinalWindow {
    /// Takes the next event.
    pub fn push(&mut self, countable: bool) {
        self.countable = (self.countable << 1) | u128::from(countable);
        self.known = (self.known + 1).min(u128::BITS);
    }

    /// The ordinal at `seq` in a conversation whose head is `head_seq` with `head_ordinal`; None: too far back.
    pub fn ordinal_at(&self, seq: u64, head_seq: u64, head_ordinal: u64) -> Option<u64> {
        let distance = u32::try_from(head_seq.checked_sub(seq)?).ok()?;
        if distance > self.known {
            return None;
        }
        let above = match distance {
            0 => 0,
            _ => self.countable & (u128::MAX >> (u128::BITS - distance)),
        };
        Some(head_ordinal - u64::from(above.count_ones()))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message(conversation: &str, seq: u64, ordinal: u64) -> StreamEvent {
        StreamEvent {
            key: ConversationKey::new("default", conversation),
            seq,
            ordinal,
            time_ms: 1_000 + i64::try_from(seq).expect("small"),
            class: Class::Group,
            participants: Vec::new(),
            sender: "alice".into(),
            from_device: true,
            countable: true,
            mentions: Vec::new(),
            mention_all: false,
            recalls: None,
            is_membership: false,
            is_change: false,
            line: None,
            encoded: Bytes::from(format!("{conversation}/{seq}")),
        }
    }

    fn recall(seq: u64, ordinal: u64, target: u64) -> StreamEvent {
        StreamEvent {
            countable: false,
            recalls: Some(target),
            ..message("g", seq, ordinal)
        }
    }

    #[test]
    fn a_head_counts_recalled_messages_above_a_seq() {
        let mut head = Head::default();
        (1..=4).for_each(|seq| head.apply(&message("g", seq, seq), 100));
        head.apply(&recall(5, 4, 4), 100);
        head.apply(&recall(6, 4, 2), 100);
        head.apply(&recall(7, 4, 4), 100);
        let counts: Vec<_> = (0..=4).map(|seq| head.recalled_above(seq)).collect();
        assert_eq!(counts, [Some(2), Some(2), Some(1), Some(1), Some(0)]);
        assert_eq!((head.seq, head.ordinal, head.is_recalled(4)), (7, 4, true));
        assert_eq!(head.last_message.map(|it| it.seq), Some(4));
    }

    #[test]
    fn a_head_says_when_it_has_forgotten_recalled_messages() {
        let mut head = Head::default();
        (1..=70).for_each(|seq| head.apply(&message("g", seq, seq), 100));
        (1..=66).for_each(|target| head.apply(&recall(70 + target, 70, target), 100));
        assert_eq!(head.recalled_complete_from, 2);
        assert_eq!(head.recalled_above(1), None);
        assert_eq!(head.recalled_above(2), Some(64));
    }

    #[test]
    fn large_messages_are_left_to_the_reader() {
        let mut head = Head::default();
        head.apply(&message("g", 1, 1), 2);
        assert_eq!(head.last_message.and_then(|it| it.encoded), None);
    }

    #[test]
    fn ordinals_near_the_head_are_known_and_others_are_not() {
        let mut window = OrdinalWindow::default();
        let mut ordinals = vec![0];
        for seq in 1..=200_u64 {
            let countable = seq % 3 != 0;
            window.push(countable);
            ordinals.push(ordinals[ordinals.len() - 1] + u64::from(countable));
        }
        for (seq, ordinal) in ordinals.iter().enumerate() {
            let expected = (seq >= 72).then_some(*ordinal);
            assert_eq!(
                window.ordinal_at(seq as u64, 200, ordinals[200]),
                expected,
                "seq {seq}"
            );
        }
        assert_eq!(window.ordinal_at(201, 200, ordinals[200]), None);
    }
}
