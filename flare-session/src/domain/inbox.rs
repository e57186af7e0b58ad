//! What a user has of a conversation: settings, read position, and what follows from them and the head.

use std::{cmp::max, sync::Arc};

use bytes::Bytes;

use super::{
    head::Head,
    membership::Summary,
    role::{History, Role},
};

/// Of a conversation's mentions of one user, so many are counted: who leaves more unread is told this number.
pub const MAX_COUNTED_MENTIONS: usize = 1_000;

/// How far a user has read. The ordinal is that of the event at `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadPosition {
    /// The last event that he has read; 0: none.
    pub seq: u64,
    /// Countable events up to and including it.
    pub ordinal: u64,
}

/// What a user set for himself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Unix milliseconds; 0: not muted; -1: for ever.
    pub mute_until_ms: i64,
    /// On top of his list.
    pub pinned: bool,
    /// Out of his list until the conversation has a message above this seq; 0: not hidden.
    pub hidden_at_seq: u64,
}

/// A wish to change settings; what is None stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingsPatch {
    /// As in [`Settings`].
    pub mute_until_ms: Option<i64>,
    /// As in [`Settings`].
    pub pinned: Option<bool>,
    /// Hidden at this seq, or shown (0).
    pub hidden_at_seq: Option<u64>,
}

impl Settings {
    /// The settings after a wish.
    #[must_use]
    pub fn patched(self, patch: &SettingsPatch) -> Self {
        Self {
            mute_until_ms: patch.mute_until_ms.unwrap_or(self.mute_until_ms),
            pinned: patch.pinned.unwrap_or(self.pinned),
            hidden_at_seq: patch.hidden_at_seq.unwrap_or(self.hidden_at_seq),
        }
    }

    /// Whether the conversation is out of the list: no message came since it was hidden. So no write is needed to bring it back.
    pub fn is_hidden(&self, last_message_seq: u64) -> bool {
        self.hidden_at_seq > 0 && last_message_seq <= self.hidden_at_seq
    }
}

/// What was kept for one who left: nothing that came later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The event by which he went.
    pub seq: u64,
    /// Countable events up to it.
    pub ordinal: u64,
    /// Its time. Unix milliseconds.
    pub time_ms: i64,
    /// The last message that he may read, as an encoded event; None: not asked for yet; empty: there is none.
    pub last_message: Option<Bytes>,
}

/// A user's row of a conversation, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxRow {
    /// The conversation's id.
    pub conversation: Arc<str>,
    /// What the user is told of it; for one who left, as it was then.
    pub summary: Summary,
    /// What later members see of the past.
    pub history: History,
    /// A group's last member event that the row knows of.
    pub as_of: u64,
    /// Whether the conversation has ended.
    pub disbanded: bool,
    /// His role, or the last he had.
    pub role: Role,
    /// Set if he left.
    pub farewell: Option<Farewell>,
    /// As stored; a later one may wait in memory.
    pub read: ReadPosition,
    /// His settings.
    pub settings: Settings,
    /// Seqs of messages that mention him, above the stored read position: the newest, at most [`MAX_COUNTED_MENTIONS`].
    pub mentions: Vec<u64>,
}

/// An entry of a user's inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The row that it was made of.
    pub row: InboxRow,
    /// The newest event that the user may see.
    pub head_seq: u64,
    /// Its time. Unix milliseconds.
    pub head_time_ms: i64,
    /// How far he has read.
    pub read_seq: u64,
    /// Countable, not recalled, above the read position.
    pub unread: u64,
    /// Messages above the read position that mention him; no more than [`MAX_COUNTED_MENTIONS`] of him alone are counted.
    pub mention_count: u64,
    /// Whether it is out of his list.
    pub hidden: bool,
    /// The last message, as an encoded event; empty: none.
    pub last_message: Bytes,
    /// The last message was taken back: its body is not shown.
    pub last_message_recalled: bool,
}

/// Where the user stands in the conversation, taken together: his stored position, one that waits in memory, and the last message if it is
/// his own (which repairs what a crash took of the positions in memory).
pub fn effective_read(
    row: &InboxRow,
    waiting: ReadPosition,
    head: &Head,
    user: &str,
) -> ReadPosition {
    let own = head
        .last_message
        .as_ref()
        .filter(|it| row.farewell.is_none() && it.from_device && *it.sender == *user)
        .map(|it| ReadPosition {
            seq: it.seq,
            ordinal: head.ordinal,
        })
        .unwrap_or_default();
    max(max(row.read, own), waiting)
}

/// How many messages wait: countable ones above the read position, less `recalled` of them.
pub fn unread(newest_ordinal: u64, read: ReadPosition, recalled: u64) -> u64 {
    newest_ordinal
        .saturating_sub(read.ordinal)
        .saturating_sub(recalled)
}

impl InboxRow {
    /// Whether the row of a member was read before a member event that the head has: he may have left by it, and have no right to what came
    /// then.
    pub fn is_outdated(&self, head: &Head) -> bool {
        self.summary.class.is_changed() && self.farewell.is_none() && self.as_of < head.member_seq
    }

    /// The entry of a member, or of one who left. `recalled`: messages between the read position and the newest that he may see that were
    /// taken back.
    pub fn entry(self, head: &Head, read: ReadPosition, recalled: u64) -> Entry {
        match &self.farewell {
            Some(farewell) => {
                let (head_seq, head_time_ms, ordinal) =
                    (farewell.seq, farewell.time_ms, farewell.ordinal);
                let last_message = farewell.last_message.clone().unwrap_or_default();
                Entry {
                    head_seq,
                    head_time_ms,
                    read_seq: read.seq.min(head_seq),
                    unread: unread(ordinal, read, recalled),
                    mention_count: mentioned(&self.mentions, read.seq, head_seq),
                    hidden: self.settings.is_hidden(0),
                    last_message,
                    last_message_recalled: false,
                    row: self,
                }
            }
            None => {
                let last = head.last_message.as_ref();
                let last_seq = last.map_or(0, |it| it.seq);
                let everybody = head.mention_all_seq > read.seq
                    && !head.is_recalled(head.mention_all_seq)
                    && !self.mentions.contains(&head.mention_all_seq);
                Entry {
                    head_seq: head.seq,
                    head_time_ms: head.time_ms,
                    read_seq: read.seq,
                    unread: unread(head.ordinal, read, recalled),
                    mention_count: mentioned(&self.mentions, read.seq, u64::MAX)
                        + u64::from(everybody),
                    hidden: self.settings.is_hidden(last_seq),
                    last_message: last.and_then(|it| it.encoded.clone()).unwrap_or_default(),
                    last_message_recalled: head.is_recalled(last_seq),
                    row: self,
                }
            }
        }
    }
}

fn mentioned(seqs: &[u64], above: u64, up_to: u64) -> u64 {
    seqs.iter()
        .filter(|seq| **seq > above && **seq <= up_to)
        .count() as u64
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            head::{LastMessage, tests::message},
            role::Class,
        },
        *,
    };

    fn row() -> InboxRow {
        InboxRow {
            conversation: "g".into(),
            summary: Summary {
                class: Class::Group,
                title: "t".into(),
                owner: "olga".into(),
                member_count: 2,
                created_ms: 1,
                participants: Vec::new(),
            },
            history: History::All,
            as_of: 1,
            disbanded: false,
            role: Role::Member,
            farewell: None,
            read: ReadPosition { seq: 2, ordinal: 1 },
            settings: Settings::default(),
            mentions: vec![4, 6],
        }
    }

    fn head() -> Head {
        let mut head = Head::default();
        (1..=6).for_each(|seq| head.apply(&message("g", seq, seq - 1), 100));
        head
    }

    #[test]
    fn unread_is_what_is_countable_above_the_read_position_and_not_recalled() {
        let entry = row().entry(&head(), row().read, 1);
        assert_eq!(
            (entry.head_seq, entry.unread, entry.mention_count),
            (6, 3, 2)
        );
    }

    #[test]
    fn an_own_last_message_counts_as_read() {
        assert_eq!(
            effective_read(&row(), ReadPosition::default(), &head(), "alice"),
            ReadPosition { seq: 6, ordinal: 5 }
        );
        assert_eq!(
            effective_read(&row(), ReadPosition::default(), &head(), "bob"),
            row().read
        );
        let mut by_api = head();
        if let Some(LastMessage { from_device, .. }) = &mut by_api.last_message {
            *from_device = false;
        }
        assert_eq!(
            effective_read(&row(), ReadPosition::default(), &by_api, "alice"),
            row().read
        );
    }

    #[test]
    fn a_mention_of_everybody_counts_once_and_not_when_recalled() {
        let mut head = head();
        head.mention_all_seq = 5;
        assert_eq!(row().entry(&head, row().read, 0).mention_count, 3);
        head.mention_all_seq = 6;
        assert_eq!(row().entry(&head, row().read, 0).mention_count, 2);
        head.mention_all_seq = 5;
        head.recalled = vec![5];
        assert_eq!(row().entry(&head, row().read, 0).mention_count, 2);
    }

    #[test]
    fn a_hidden_conversation_comes_back_with_the_next_message() {
        let hidden = Settings {
            hidden_at_seq: 6,
            ..Settings::default()
        };
        assert!(hidden.is_hidden(6));
        assert!(!hidden.is_hidden(7));
        assert!(!Settings::default().is_hidden(0));
    }

    #[test]
    fn who_left_sees_nothing_of_what_came_later() {
        let mut left = row();
        left.farewell = Some(Farewell {
            seq: 5,
            ordinal: 3,
            time_ms: 77,
            last_message: Some(Bytes::from_static(b"kept")),
        });
        let entry = left.clone().entry(&head(), left.read, 0);
        assert_eq!(
            (
                entry.head_seq,
                entry.head_time_ms,
                entry.unread,
                entry.mention_count
            ),
            (5, 77, 2, 1)
        );
        assert_eq!(entry.last_message, "kept");
    }
}
