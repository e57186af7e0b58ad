//! Who may change what: one table.

use super::role::Role;

/// What a member may want to do to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Give it another title.
    Rename,
    /// Bring users in.
    AddMembers,
    /// Put a plain member out.
    RemoveMember,
    /// Put an admin out.
    RemoveAdmin,
    /// Put the owner out.
    RemoveOwner,
    /// Go.
    Leave,
    /// Make a member an admin, or an admin a member.
    SetRole,
    /// Make another member the owner.
    TransferOwnership,
    /// End it.
    Disband,
}

/// What each role may do; columns as in [`Role::ALL`]: owner, admin, member.
///
/// That an owner leaves is allowed here and judged further by the aggregate: he transfers first unless he is the last.
const MATRIX: [(Action, [bool; 3]); 9] = [
    (Action::Rename, [true, true, false]),
    (Action::AddMembers, [true, true, false]),
    (Action::RemoveMember, [true, true, false]),
    (Action::RemoveAdmin, [true, false, false]),
    (Action::RemoveOwner, [false, false, false]),
    (Action::Leave, [true, true, true]),
    (Action::SetRole, [true, false, false]),
    (Action::TransferOwnership, [true, false, false]),
    (Action::Disband, [true, false, false]),
];

impl Action {
    /// Every action, in the order of the matrix.
    pub fn all() -> impl Iterator<Item = Self> {
        MATRIX.iter().map(|(action, _)| *action)
    }

    /// Whether a member of this role may do it.
    pub fn is_permitted(self, role: Role) -> bool {
        let column = Role::ALL.iter().position(|it| *it == role);
        let row = MATRIX.iter().find(|(action, _)| *action == self);
        row.zip(column)
            .is_some_and(|((_, cells), column)| cells[column])
    }

    /// As messages for people name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::AddMembers => "add members",
            Self::RemoveMember => "remove a member",
            Self::RemoveAdmin => "remove an admin",
            Self::RemoveOwner => "remove the owner",
            Self::Leave => "leave",
            Self::SetRole => "set roles",
            Self::TransferOwnership => "transfer the ownership",
            Self::Disband => "disband",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_row_and_the_owner_is_never_weaker_than_others() {
        assert_eq!(Action::all().count(), 9);
        for action in Action::all() {
            let [owner, admin, member] = Role::ALL.map(|role| action.is_permitted(role));
            assert!(owner >= admin && admin >= member, "{action:?}");
        }
    }
}
