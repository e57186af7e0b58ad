//! Where a user stands in a conversation, and the roster that says it of everybody.

use std::{collections::BTreeMap, sync::Arc};

use super::role::{Class, History, Role};

/// A conversation with its active members, as far as their events have been placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// What the conversation is.
    pub summary: Summary,
    /// What later members see of the past.
    pub history: History,
    /// The seq of the last member event that the roster includes; 0 in direct conversations, which have none.
    pub as_of: u64,
    /// Whether it has ended.
    pub disbanded: bool,
    /// Who is in it, by user id. None: it is a large conversation, whose members are asked for by name or in pages.
    pub members: Option<BTreeMap<Arc<str>, RosterMember>>,
}

/// An active member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterMember {
    /// His role; in direct conversations both are members.
    pub role: Role,
    /// The seq of the event by which he last joined.
    pub joined_seq: u64,
}

/// What anybody in a conversation is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Direct, group or large.
    pub class: Class,
    /// Empty in direct conversations.
    pub title: String,
    /// Empty in direct conversations.
    pub owner: Arc<str>,
    /// Active members.
    pub member_count: u32,
    /// When its first event was placed. Unix milliseconds.
    pub created_ms: i64,
    /// Direct only: both users, sorted.
    pub participants: Vec<Arc<str>>,
}

/// The past of one who left or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerMember {
    /// The seq of the event by which he had last joined.
    pub joined_seq: u64,
    /// The seq of the event by which he went: the last that he may read.
    pub left_seq: u64,
}

/// What a conversation's rows say of a user who is or was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// He is in it.
    Active(RosterMember),
    /// He was.
    Former(FormerMember),
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no such conversation.
    Unknown,
    /// He never was in it.
    Stranger,
    /// He is in it.
    Active(Role),
    /// He was.
    Former,
}

/// An answer to "what may he do": standing, and what it was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where he stands.
    pub standing: Standing,
    /// None where the conversation is unknown.
    pub class: Option<Class>,
    /// Whether the conversation has ended.
    pub disbanded: bool,
    /// The seq of the last member event that the answer includes.
    pub as_of: u64,
    /// He may read from this seq on; 0: nothing.
    pub visible_from: u64,
    /// He may read up to this seq; 0: no bound.
    pub visible_to: u64,
}

impl Membership {
    /// Of a conversation that nobody knows.
    pub const UNKNOWN: Self = Self {
        standing: Standing::Unknown,
        class: None,
        disbanded: false,
        as_of: 0,
        visible_from: 0,
        visible_to: 0,
    };

    /// Of a user who belongs to the conversation, or belonged to it, or neither.
    pub fn of(roster: &Roster, belonging: Option<Belonging>) -> Self {
        let from = |joined_seq| match roster.history {
            History::All => 1,
            History::SinceJoin => joined_seq,
        };
        let (standing, visible_from, visible_to) = match belonging {
            Some(Belonging::Active(member)) => {
                (Standing::Active(member.role), from(member.joined_seq), 0)
            }
            Some(Belonging::Former(former)) => {
                (Standing::Former, from(former.joined_seq), former.left_seq)
            }
            None => (Standing::Stranger, 0, 0),
        };
        Self {
            standing,
            class: Some(roster.summary.class),
            disbanded: roster.disbanded,
            as_of: roster.as_of,
            visible_from,
            visible_to,
        }
    }

    /// The role of an active member.
    pub const fn role(&self) -> Option<Role> {
        match self.standing {
            Standing::Active(role) => Some(role),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(history: History) -> Roster {
        Roster {
            summary: Summary {
                class: Class::Group,
                title: "t".into(),
                owner: "olga".into(),
                member_count: 1,
                created_ms: 1,
                participants: Vec::new(),
            },
            history,
            as_of: 9,
            disbanded: false,
            members: None,
        }
    }

    const OLGA: Belonging = Belonging::Active(RosterMember {
        role: Role::Owner,
        joined_seq: 5,
    });

    #[test]
    fn history_since_join_begins_at_the_last_joining() {
        assert_eq!(
            Membership::of(&roster(History::SinceJoin), Some(OLGA)).visible_from,
            5
        );
        assert_eq!(
            Membership::of(&roster(History::All), Some(OLGA)).visible_from,
            1
        );
    }

    #[test]
    fn who_left_reads_up_to_his_leaving() {
        let former = FormerMember {
            joined_seq: 3,
            left_seq: 7,
        };
        let former = Belonging::Former(former);
        let membership = Membership::of(&roster(History::SinceJoin), Some(former));
        assert_eq!((membership.visible_from, membership.visible_to), (3, 7));
        assert_eq!(membership.standing, Standing::Former);
    }

    #[test]
    fn a_stranger_sees_nothing_and_has_no_role() {
        let membership = Membership::of(&roster(History::All), None);
        assert_eq!(membership.standing, Standing::Stranger);
        assert_eq!((membership.visible_from, membership.role()), (0, None));
    }
}
