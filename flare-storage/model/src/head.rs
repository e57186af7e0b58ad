//! The head of a conversation: what its events up to `seq` amount to, as far as every header tells it.

use flare_proto::message::{ConversationClass, EventHeader, EventKind};

use crate::logged_event::flags;

/// How many recalled messages a head names; beyond, the store counts.
pub const RECALLED_IN_HEAD: usize = 64;

/// The state of a conversation after its event `seq`. The default is the head of a conversation that does not exist yet.
///
/// Two folds of the same events give the same head.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// The newest event; 0: none.
    pub seq: u64,
    /// How many countable events there are.
    pub ordinal: u64,
    /// The newest event's time, Unix milliseconds.
    pub time_ms: i64,
    /// The seq of the last event that changed who may do what; 0: none.
    pub member_seq: u64,
    /// As the newest event says.
    pub class: ConversationClass,
    /// Direct only: both users, sorted.
    pub participants: Vec<String>,
    /// Seqs of recalled messages, rising, at most [`RECALLED_IN_HEAD`]: all that are above `recalled_complete_from`.
    pub recalled: Vec<u64>,
    /// The highest recalled seq that `recalled` had no room for; 0: it names all.
    pub recalled_complete_from: u64,
    /// The seq of the last message that mentions everybody; 0: none.
    pub mention_all_seq: u64,
    /// The seq of the last countable event.
    pub last_message: Option<u64>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            seq: 0,
            ordinal: 0,
            time_ms: 0,
            member_seq: 0,
            class: ConversationClass::Unspecified,
            participants: Vec::new(),
            recalled: Vec::new(),
            recalled_complete_from: 0,
            mention_all_seq: 0,
            last_message: None,
        }
    }
}

/// An event that does not follow from its conversation's head. It means that an owner or the log is wrong: who meets it stops the
/// partition and alerts; he never skips the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenInvariant {
    /// A hole, or a seq that is taken.
    #[error("event {message_id} has seq {seq}, the head of {conversation} is at {head}")]
    Seq {
        /// The event's id.
        message_id: String,
        /// Tenant and conversation.
        conversation: String,
        /// The event's seq.
        seq: u64,
        /// The head's.
        head: u64,
    },
    /// The ordinal does not count the countable events.
    #[error(
        "event {message_id}, seq {seq} of {conversation}, has ordinal {ordinal}, not {expected}"
    )]
    Ordinal {
        /// The event's id.
        message_id: String,
        /// Tenant and conversation.
        conversation: String,
        /// The event's seq.
        seq: u64,
        /// The event's ordinal.
        ordinal: u64,
        /// What it must be.
        expected: u64,
    },
    /// Time ran backwards.
    #[error(
        "event {message_id}, seq {seq} of {conversation}, is of {time_ms} ms, the head of {head} ms"
    )]
    Time {
        /// The event's id.
        message_id: String,
        /// Tenant and conversation.
        conversation: String,
        /// The event's seq.
        seq: u64,
        /// The event's time.
        time_ms: i64,
        /// The head's.
        head: i64,
    },
    /// A recall of something that is not before it.
    #[error("event {message_id}, seq {seq} of {conversation}, takes back seq {target}")]
    Target {
        /// The event's id.
        message_id: String,
        /// Tenant and conversation.
        conversation: String,
        /// The event's seq.
        seq: u64,
        /// What it takes back.
        target: u64,
    },
}

impl Head {
    /// Moves on to the next event. On an error the head is unchanged.
    pub fn apply(&mut self, event: &EventHeader) -> Result<(), BrokenInvariant> {
        self.check(event)?;
        self.seq = event.seq;
        self.ordinal = event.ordinal;
        self.time_ms = event.time_ms;
        self.class = event.class();
        if self.participants != event.participants {
            self.participants.clone_from(&event.participants);
        }
        if event.flags & flags::MEMBERSHIP != 0 {
            self.member_seq = event.seq;
        }
        if event.flags & flags::COUNTABLE != 0 {
            self.last_message = Some(event.seq);
        }
        if event.flags & flags::MENTION_ALL != 0 {
            self.mention_all_seq = event.seq;
        }
        if event.kind() == EventKind::MessageRecalled {
            self.recall(event.target_seq);
        }
        Ok(())
    }

    /// How many recalled messages are above `seq`; none where the head does not know and the store must count.
    pub fn recalled_above(&self, seq: u64) -> Option<u64> {
        if seq < self.recalled_complete_from {
            return None;
        }
        let below = self.recalled.partition_point(|it| *it <= seq);
        Some((self.recalled.len() - below) as u64)
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

    fn check(&self, event: &EventHeader) -> Result<(), BrokenInvariant> {
        let message_id = || event.message_id.clone();
        let conversation = || format!("{}/{}", event.tenant_id, event.conversation_id);
        if event.seq != self.seq + 1 {
            return Err(BrokenInvariant::Seq {
                message_id: message_id(),
                conversation: conversation(),
                seq: event.seq,
                head: self.seq,
            });
        }
        let expected = self.ordinal + u64::from(event.flags & flags::COUNTABLE);
        if event.ordinal != expected {
            return Err(BrokenInvariant::Ordinal {
                message_id: message_id(),
                conversation: conversation(),
                seq: event.seq,
                ordinal: event.ordinal,
                expected,
            });
        }
        if event.time_ms < self.time_ms {
            return Err(BrokenInvariant::Time {
                message_id: message_id(),
                conversation: conversation(),
                seq: event.seq,
                time_ms: event.time_ms,
                head: self.time_ms,
            });
        }
        let recall = event.kind() == EventKind::MessageRecalled;
        if recall && !(1..event.seq).contains(&event.target_seq) {
            return Err(BrokenInvariant::Target {
                message_id: message_id(),
                conversation: conversation(),
                seq: event.seq,
                target: event.target_seq,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(head: &Head, kind: EventKind, bits: u32) -> EventHeader {
        EventHeader {
            tenant_id: "default".into(),
            conversation_id: "general".into(),
            seq: head.seq + 1,
            ordinal: head.ordinal + u64::from(bits & flags::COUNTABLE),
            time_ms: head.time_ms,
            kind: kind.into(),
            flags: bits,
            ..Default::default()
        }
    }

    fn say(head: &mut Head) {
        let event = next(head, EventKind::MessageCreated, flags::COUNTABLE);
        head.apply(&event).expect("the next event");
    }

    fn recall(head: &mut Head, target: u64) {
        let mut event = next(head, EventKind::MessageRecalled, 0);
        event.target_seq = target;
        head.apply(&event).expect("the next event");
    }

    #[test]
    fn a_head_follows_its_events() {
        let mut head = Head::default();
        let mut created = next(&head, EventKind::ConversationCreated, flags::MEMBERSHIP);
        created.time_ms = 5;
        created.class = ConversationClass::Group.into();
        head.apply(&created).expect("the first event");
        say(&mut head);
        let all = next(
            &head,
            EventKind::MessageCreated,
            flags::COUNTABLE | flags::MENTION_ALL,
        );
        head.apply(&all).expect("the next event");
        let renamed = next(&head, EventKind::ConversationRenamed, 0);
        head.apply(&renamed).expect("the next event");
        assert_eq!(
            head,
            Head {
                seq: 4,
                ordinal: 2,
                time_ms: 5,
                member_seq: 1,
                class: ConversationClass::Unspecified,
                mention_all_seq: 3,
                last_message: Some(3),
                ..Head::default()
            }
        );
    }

    #[test]
    fn what_does_not_follow_is_refused_and_changes_nothing() {
        let mut head = Head::default();
        say(&mut head);
        head.time_ms = 100;
        let good = next(&head, EventKind::MessageCreated, flags::COUNTABLE);
        let refusal = |change: fn(&mut EventHeader)| {
            let mut event = good.clone();
            change(&mut event);
            let mut after = head.clone();
            let error = after.apply(&event).expect_err("refused");
            assert_eq!(after, head);
            error
        };
        assert!(matches!(
            refusal(|it| it.seq = 3),
            BrokenInvariant::Seq {
                seq: 3,
                head: 1,
                ..
            }
        ));
        assert!(matches!(
            refusal(|it| it.seq = 1),
            BrokenInvariant::Seq { seq: 1, .. }
        ));
        assert!(matches!(
            refusal(|it| it.ordinal = 1),
            BrokenInvariant::Ordinal {
                ordinal: 1,
                expected: 2,
                ..
            }
        ));
        assert!(matches!(
            refusal(|it| it.flags = 0),
            BrokenInvariant::Ordinal {
                ordinal: 2,
                expected: 1,
                ..
            }
        ));
        assert!(matches!(
            refusal(|it| it.time_ms = 99),
            BrokenInvariant::Time {
                time_ms: 99,
                head: 100,
                ..
            }
        ));
        for target in [
            |it: &mut EventHeader| it.target_seq = 2,
            |it: &mut EventHeader| it.target_seq = 0,
        ] {
            let error = {
                let mut event = good.clone();
                event.kind = EventKind::MessageRecalled.into();
                target(&mut event);
                head.clone().apply(&event).expect_err("refused")
            };
            assert!(matches!(error, BrokenInvariant::Target { .. }), "{error}");
        }
    }

    #[test]
    fn recalled_messages_are_named_once_in_order() {
        let mut head = Head::default();
        (0..5).for_each(|_| say(&mut head));
        for target in [4, 2, 4, 2] {
            recall(&mut head, target);
        }
        assert_eq!(head.recalled, [2, 4]);
        assert_eq!(head.recalled_above(0), Some(2));
        assert_eq!(head.recalled_above(2), Some(1));
        assert_eq!(head.recalled_above(4), Some(0));
    }

    #[test]
    fn a_head_says_when_it_does_not_know_all_that_was_recalled() {
        let mut head = Head::default();
        (0..100).for_each(|_| say(&mut head));
        (1..=70).rev().for_each(|target| recall(&mut head, target));
        assert_eq!(head.recalled.len(), RECALLED_IN_HEAD);
        assert_eq!((head.recalled[0], head.recalled_complete_from), (7, 6));
        assert_eq!(head.recalled_above(6), Some(64));
        assert_eq!(head.recalled_above(5), None);
        recall(&mut head, 3);
        assert_eq!(head.recalled_above(6), Some(64));
    }
}
