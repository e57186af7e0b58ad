//! The fixed vocabulary of a conversation.

/// What a member may do. `OWNER` is held by one member at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Does everything; there is exactly one.
    Owner,
    /// Renames, invites and removes members.
    Admin,
    /// Reads and writes.
    Member,
}

impl Role {
    /// Every role, in the order of the permission matrix.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Admin, Self::Member];

    /// As messages for people name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }
}

/// How a conversation is delivered and counted. Fixed when it is created, but that a group becomes large by growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Two users, named by every event; it exists by being written to.
    Direct,
    /// Members with roles, changed by commands.
    Group,
    /// A group with so many members that they are neither held together nor looked up for each event.
    Large,
}

impl Class {
    /// Whether it has members with roles, who come and go.
    pub const fn is_changed(self) -> bool {
        !matches!(self, Self::Direct)
    }
}

/// What of the past a member who joins later may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum History {
    /// All of it.
    All,
    /// From the event by which he last joined.
    SinceJoin,
}
