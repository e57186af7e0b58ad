//! A group's members, as of a place in its log.

use std::collections::HashMap;

use super::event::{Event, MemberChange};

/// Who is a member, and since when.
///
/// A roster of version v, fetched from flare-session, has all changes up to v. When it is fetched, v is at least the seq of the last member event that is committed
/// (the fetcher checks that against the committed head), so changes above v come by the stream and are applied here in order. For an event at s ≤ v
/// the roster is later than the event. Then it goes to those of the roster who joined at or before s:
///
/// - nobody gets it who was not a member at s: each of them joined at or before s and has not left up to v;
/// - whom it misses has an event of his own in (s, v], his removal or his joining again, which names him and is still to come by the stream. He gets that one, sees
///   the gap before it and syncs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    version: u64,
    joined: HashMap<String, u64>,
}

impl Roster {
    /// The members at `version`, each with the seq at which he joined.
    pub fn new(version: u64, members: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self {
            version,
            joined: members.into_iter().collect(),
        }
    }

    /// Who gets the event. An event that names who goes is for him, too.
    pub fn audience(&self, event: &Event) -> Vec<String> {
        let mut audience: Vec<String> = self
            .joined
            .iter()
            .filter(|(_, joined)| **joined <= event.seq)
            .map(|(user, _)| user.clone())
            .collect();
        for user in event.change.named() {
            if self
                .joined
                .get(user)
                .is_none_or(|joined| *joined > event.seq)
            {
                audience.push(user.clone());
            }
        }
        audience
    }

    /// Whether the event changes this roster; then `apply` it before asking for later events' audiences.
    pub fn is_changed_by(&self, event: &Event) -> bool {
        event.seq > self.version && event.change != MemberChange::None
    }

    /// The seq of the last change that it has.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The roster after the event.
    #[must_use]
    pub fn after(&self, event: &Event) -> Self {
        let mut next = self.clone();
        if self.is_changed_by(event) {
            next.version = event.seq;
            match &event.change {
                MemberChange::None => {}
                MemberChange::Joined(users) => {
                    next.joined
                        .extend(users.iter().map(|user| (user.clone(), event.seq)));
                }
                MemberChange::Gone(user) => {
                    next.joined.remove(user);
                }
            }
        }
        next
    }

    /// Whether the user is a member.
    pub fn contains(&self, user: &str) -> bool {
        self.joined.contains_key(user)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = &String> {
        self.joined.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Conversation;
    use bytes::Bytes;

    fn event(seq: u64, change: MemberChange) -> Event {
        Event {
            conversation: Conversation {
                tenant: "default".to_owned(),
                id: "g".to_owned(),
            },
            seq,
            trace_id: Bytes::new(),
            sender: String::new(),
            sender_device: String::new(),
            participants: Vec::new(),
            change,
            large: None,
            bytes: Bytes::new(),
        }
    }

    fn sorted(mut users: Vec<String>) -> Vec<String> {
        users.sort();
        users
    }

    fn users(names: &[&str]) -> Vec<String> {
        names.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn who_joins_at_k_gets_k_on_and_who_goes_at_k_gets_k_and_nothing_after() {
        let roster = Roster::new(1, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        let join = event(5, MemberChange::Joined(users(&["c"])));
        assert_eq!(
            sorted(roster.audience(&event(4, MemberChange::None))),
            users(&["a", "b"])
        );
        let roster = {
            assert_eq!(
                sorted(roster.after(&join).audience(&join)),
                users(&["a", "b", "c"])
            );
            roster.after(&join)
        };
        let goes = event(6, MemberChange::Gone("a".to_owned()));
        let after = roster.after(&goes);
        assert_eq!(sorted(after.audience(&goes)), users(&["a", "b", "c"]));
        assert_eq!(
            sorted(after.audience(&event(7, MemberChange::None))),
            users(&["b", "c"])
        );
    }

    #[test]
    fn a_roster_later_than_the_event_shows_it_to_no_one_who_was_not_there() {
        // As of 9: c joined at 7, a was removed at 8.
        let roster = Roster::new(9, [("b".to_owned(), 1), ("c".to_owned(), 7)]);
        assert_eq!(
            roster.audience(&event(6, MemberChange::None)),
            users(&["b"])
        );
        let join = event(7, MemberChange::Joined(users(&["c"])));
        assert!(!roster.is_changed_by(&join));
        assert_eq!(sorted(roster.audience(&join)), users(&["b", "c"]));
        let goes = event(8, MemberChange::Gone("a".to_owned()));
        assert_eq!(
            sorted(roster.after(&goes).audience(&goes)),
            users(&["a", "b", "c"]),
            "a hears of his removal"
        );
    }

    #[test]
    fn a_change_that_the_roster_has_is_not_applied_again() {
        let roster = Roster::new(9, [("b".to_owned(), 1)]);
        assert_eq!(
            roster.after(&event(8, MemberChange::Joined(users(&["a"])))),
            roster
        );
    }
}
