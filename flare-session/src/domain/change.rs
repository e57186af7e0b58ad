//! What happened to a conversation: the events that this service decides.

use std::sync::Arc;

use super::role::{Class, History, Role};

/// A user and his role, as an event names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMember {
    /// The user.
    pub user: Arc<str>,
    /// His role.
    pub role: Role,
}

/// A decided change. It takes effect at its event's seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The conversation begins.
    Created {
        /// For people; may be empty.
        title: String,
        /// The owner first.
        members: Vec<NamedMember>,
        /// Fixed for the conversation's life.
        history: History,
        /// A group, or a large one.
        class: Class,
    },
    /// It has another title.
    Renamed {
        /// The new one.
        title: String,
    },
    /// Users joined.
    MembersAdded {
        /// Who.
        members: Vec<NamedMember>,
        /// With them the group becomes a large one.
        becomes_large: bool,
    },
    /// A member was put out.
    MemberRemoved {
        /// Who.
        user: Arc<str>,
    },
    /// A member went.
    MemberLeft {
        /// Who.
        user: Arc<str>,
    },
    /// A member has another role.
    RoleChanged {
        /// Who.
        user: Arc<str>,
        /// The new one.
        role: Role,
    },
    /// Another member owns it; the former owner is an admin from here on.
    OwnershipTransferred {
        /// Who owned it.
        from: Arc<str>,
        /// Who owns it.
        to: Arc<str>,
    },
    /// Nothing changes any more; members keep what they may read.
    Disbanded,
}

impl Change {
    /// Whether it changes who may do what.
    pub const fn is_membership(&self) -> bool {
        !matches!(self, Self::Renamed { .. })
    }

    /// Who becomes a member by it.
    pub fn joining(&self) -> &[NamedMember] {
        match self {
            Self::Created { members, .. } | Self::MembersAdded { members, .. } => members,
            _ => &[],
        }
    }

    /// Who stops to be a member by it.
    pub const fn leaving(&self) -> Option<&Arc<str>> {
        match self {
            Self::MemberRemoved { user } | Self::MemberLeft { user } => Some(user),
            _ => None,
        }
    }
}
