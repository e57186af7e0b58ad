//! Who is a member of a conversation, from which seq to which.

use hashbrown::HashMap;

use crate::interner::TextId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at_seq: u64,
    joined: bool,
    /// The first seq that a joiner may read.
    history_from: u64,
}

/// The member events of one conversation, in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Membership {
    changes: HashMap<TextId, Vec<Change>>,
    direct: Option<(TextId, TextId)>,
}

/// The seqs during which one user belongs to a conversation; both ends belong to a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// He is a member, and may send. By rising seq.
    pub(super) member: Vec<(u64, u64)>,
    /// He may read. May overlap.
    pub(super) readable: Vec<(u64, u64)>,
}

impl Spans {
    fn always() -> Self {
        Self {
            member: vec![(1, u64::MAX)],
            readable: vec![(1, u64::MAX)],
        }
    }

    pub(super) fn is_member_at(&self, seq: u64) -> bool {
        self.member
            .iter()
            .any(|&(from, to)| from <= seq && seq <= to)
    }

    pub(super) fn is_member_now(&self) -> bool {
        self.member.last().is_some_and(|&(_, to)| to == u64::MAX)
    }
}

/// The two users of a direct conversation, in one order.
pub(super) fn pair(a: TextId, b: TextId) -> (TextId, TextId) {
    (a.min(b), a.max(b))
}

impl Membership {
    pub(super) fn joined(&mut self, user: TextId, at_seq: u64, history_from: u64) {
        self.add(
            user,
            Change {
                at_seq,
                joined: true,
                history_from,
            },
        );
    }

    pub(super) fn removed(&mut self, user: TextId, at_seq: u64) {
        self.add(
            user,
            Change {
                at_seq,
                joined: false,
                history_from: 0,
            },
        );
    }

    fn add(&mut self, user: TextId, change: Change) {
        let changes = self.changes.entry(user).or_default();
        // Every client that saw the event tells of it.
        if !changes
            .iter()
            .any(|known| known.at_seq == change.at_seq && known.joined == change.joined)
        {
            changes.push(change);
        }
    }

    /// A [`pair`]; the first stays.
    pub(super) fn set_direct(&mut self, users: (TextId, TextId)) {
        self.direct.get_or_insert(users);
    }

    pub(super) fn direct(&self) -> Option<(TextId, TextId)> {
        self.direct
    }

    /// Joinings and removals.
    pub(super) fn count(&self) -> (u64, u64) {
        let all = || self.changes.values().flatten();
        (
            all().filter(|change| change.joined).count() as u64,
            all().filter(|change| !change.joined).count() as u64,
        )
    }

    /// Everybody's spans; `None` if nothing is known of the members.
    pub(super) fn spans(&mut self) -> Option<HashMap<TextId, Spans>> {
        if let Some((a, b)) = self.direct {
            return Some(
                [(a, Spans::always()), (b, Spans::always())]
                    .into_iter()
                    .collect(),
            );
        }
        if self.changes.is_empty() {
            return None;
        }
        Some(
            self.changes
                .iter_mut()
                .map(|(&user, changes)| (user, spans_of(changes)))
                .collect(),
        )
    }
}

fn spans_of(changes: &mut [Change]) -> Spans {
    changes.sort_unstable();
    let mut spans = Spans::default();
    let mut open: Option<Change> = None;
    for change in &*changes {
        if change.joined {
            open.get_or_insert(*change);
        } else {
            // Removed without a joining that anybody saw: he was there from the beginning.
            let joined = open.take().unwrap_or(Change {
                at_seq: 1,
                joined: true,
                history_from: 1,
            });
            spans.member.push((joined.at_seq, change.at_seq));
            spans.readable.push((joined.history_from, change.at_seq));
        }
    }
    if let Some(joined) = open {
        spans.member.push((joined.at_seq, u64::MAX));
        spans.readable.push((joined.history_from, u64::MAX));
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_belongs_from_his_joining_to_his_removal() {
        let mut membership = Membership::default();
        membership.removed(7, 9);
        membership.joined(7, 3, 1);
        membership.joined(7, 12, 12);
        membership.joined(7, 12, 12);
        let spans = membership.spans().expect("known")[&7].clone();
        assert_eq!(spans.member, [(3, 9), (12, u64::MAX)]);
        assert_eq!(spans.readable, [(1, 9), (12, u64::MAX)]);
        assert!(spans.is_member_now());
        assert!(!spans.is_member_at(10));
        assert_eq!(membership.count(), (2, 1));
    }

    #[test]
    fn a_direct_conversation_has_two_members_forever() {
        let mut membership = Membership::default();
        membership.set_direct(pair(4, 2));
        membership.set_direct(pair(2, 5));
        assert_eq!(membership.direct(), Some((2, 4)));
        assert_eq!(membership.spans().expect("known").len(), 2);
    }

    #[test]
    fn nothing_told_is_nothing_known() {
        assert!(Membership::default().spans().is_none());
    }
}
