//! What callers want of a conversation.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    caller::Actor,
    role::{Class, History, Role},
};

/// A wish to change a conversation. Ids are checked by whoever took them from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin a group.
    Create {
        /// For people; may be empty.
        title: String,
        /// Who owns it.
        owner: Arc<str>,
        /// Who else is in it from the beginning.
        members: Vec<Arc<str>>,
        /// What later members see of the past.
        history: History,
        /// A group, or a large one.
        class: Class,
    },
    /// Give it another title.
    Rename {
        /// The new one.
        title: String,
    },
    /// Bring users in.
    AddMembers {
        /// Whom.
        users: Vec<Arc<str>>,
    },
    /// Put a user out.
    RemoveMember {
        /// Whom.
        user: Arc<str>,
    },
    /// Go.
    Leave,
    /// Give a member another role.
    SetRole {
        /// Whom.
        user: Arc<str>,
        /// Not the owner's.
        role: Role,
    },
    /// Give the ownership away.
    TransferOwnership {
        /// To whom.
        to: Arc<str>,
    },
    /// End it.
    Disband,
}

/// Tells whether a command that bears a known client id says the same as the first one.
pub type Fingerprint = [u8; 16];

impl Command {
    /// A short name, for metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Rename { .. } => "rename",
            Self::AddMembers { .. } => "add_members",
            Self::RemoveMember { .. } => "remove_member",
            Self::Leave => "leave",
            Self::SetRole { .. } => "set_role",
            Self::TransferOwnership { .. } => "transfer_ownership",
            Self::Disband => "disband",
        }
    }

    /// Whom a decision on it is about: who acts, and whom it names.
    pub fn about(&self, actor: &Actor) -> Vec<Arc<str>> {
        let named: &[Arc<str>] = match self {
            Self::AddMembers { users } => users,
            Self::RemoveMember { user }
            | Self::SetRole { user, .. }
            | Self::TransferOwnership { to: user } => std::slice::from_ref(user),
            Self::Create { .. } | Self::Rename { .. } | Self::Leave | Self::Disband => &[],
        };
        named.iter().chain(actor.user()).cloned().collect()
    }

    /// The first 16 bytes of SHA-256 over the length-prefixed parts of the command.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.name().as_bytes());
        match self {
            Self::Create {
                title,
                owner,
                members,
                history,
                class,
            } => {
                part(title.as_bytes());
                part(owner.as_bytes());
                part(match history {
                    History::All => b"all",
                    History::SinceJoin => b"since_join",
                });
                members.iter().for_each(|it| part(it.as_bytes()));
                // As it was before there were large ones: a retry may come from then.
                if *class == Class::Large {
                    part(b"large");
                }
            }
            Self::Rename { title } => part(title.as_bytes()),
            Self::AddMembers { users } => users.iter().for_each(|it| part(it.as_bytes())),
            Self::RemoveMember { user } => part(user.as_bytes()),
            Self::SetRole { user, role } => {
                part(user.as_bytes());
                part(role.name().as_bytes());
            }
            Self::TransferOwnership { to } => part(to.as_bytes()),
            Self::Leave | Self::Disband => {}
        }
        let digest = hash.finalize();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_say_different_things_have_different_fingerprints() {
        let create = |class| Command::Create {
            title: String::new(),
            owner: "olga".into(),
            members: vec!["mia".into()],
            history: History::All,
            class,
        };
        let commands = [
            create(Class::Group),
            create(Class::Large),
            Command::Rename { title: "ab".into() },
            Command::Rename { title: "a".into() },
            Command::AddMembers {
                users: vec!["ab".into()],
            },
            Command::AddMembers {
                users: vec!["a".into(), "b".into()],
            },
            Command::RemoveMember { user: "ab".into() },
            Command::TransferOwnership { to: "ab".into() },
            Command::Leave,
            Command::Disband,
            Command::SetRole {
                user: "ab".into(),
                role: Role::Admin,
            },
            Command::SetRole {
                user: "ab".into(),
                role: Role::Member,
            },
        ];
        for (index, one) in commands.iter().enumerate() {
            assert_eq!(one.fingerprint(), one.clone().fingerprint());
            assert!(
                commands[index + 1..]
                    .iter()
                    .all(|other| other.fingerprint() != one.fingerprint())
            );
        }
    }
}
