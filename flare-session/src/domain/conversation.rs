//! The aggregate: a group, as far as its events have been placed. It decides; nothing changes before the decided event has its seq.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    caller::Actor,
    change::{Change, NamedMember},
    command::Command,
    ids::check_title,
    permission::Action,
    role::{Class, History, Role},
    rule::Rule,
};

/// Who may join by one change: an event names them all.
pub const MAX_JOINING: usize = 1_000;

/// How much a group and a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of a group; with more it is a large conversation.
    pub max_group_members: usize,
    /// Members of a large conversation.
    pub max_large_members: usize,
    /// Groups of one user.
    pub max_conversations_per_user: u32,
    /// Characters of a title.
    pub max_title_chars: usize,
}

/// A group, and those of its active members whom a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The group's id.
    pub id: Arc<str>,
    /// A group, or a large one.
    pub class: Class,
    /// For people.
    pub title: String,
    /// What later members see of the past.
    pub history: History,
    /// Whether it has ended.
    pub disbanded: bool,
    /// The seq of the last change that it includes.
    pub as_of: u64,
    /// How many are in it.
    pub member_count: usize,
    /// Of who is in it: the owner, of whom there is exactly one, and whoever acts and is named by the command that is decided ([`Command::about`]).
    pub members: BTreeMap<Arc<str>, Role>,
}

impl Conversation {
    /// Decides on a new group. The owner comes first in the event; users named twice are taken once.
    pub fn create(id: &Arc<str>, command: &Command, limits: &Limits) -> Result<Change, Rule> {
        let Command::Create {
            title,
            owner,
            members,
            history,
            class,
        } = command
        else {
            return Err(Rule::NotFound {
                conversation: Arc::clone(id),
            });
        };
        check_title(title, limits.max_title_chars)?;
        let mut named = vec![NamedMember {
            user: Arc::clone(owner),
            role: Role::Owner,
        }];
        let mut seen = HashSet::from([owner]);
        let others = members.iter().filter(|it| seen.insert(it));
        named.extend(others.map(|user| NamedMember {
            user: Arc::clone(user),
            role: Role::Member,
        }));
        check_joining("member_ids", named.len())?;
        Ok(Change::Created {
            title: title.clone(),
            class: class_with(id, *class, named.len(), limits)?,
            members: named,
            history: *history,
        })
    }

    /// Decides on a command of `actor`; None: it is so already. A command that came twice decides the same or None.
    ///
    /// An owner who leaves alone ends the group: the change is [`Change::Disbanded`].
    pub fn decide(
        &self,
        actor: &Actor,
        command: &Command,
        limits: &Limits,
    ) -> Result<Option<Change>, Rule> {
        let role = self.role_of(actor)?;
        match command {
            Command::Disband if self.disbanded => self.permit(role, Action::Disband).map(|()| None),
            _ if self.disbanded => Err(Rule::Disbanded {
                conversation: Arc::clone(&self.id),
            }),
            Command::Create { .. } => Err(Rule::NotFound {
                conversation: Arc::clone(&self.id),
            }),
            Command::Rename { title } => {
                self.permit(role, Action::Rename)?;
                check_title(title, limits.max_title_chars)?;
                Ok((*title != self.title).then(|| Change::Renamed {
                    title: title.clone(),
                }))
            }
            Command::AddMembers { users } => {
                self.permit(role, Action::AddMembers)?;
                self.add(users, limits)
            }
            Command::RemoveMember { user } => self.remove(actor, role, user),
            Command::Leave => self.leave(actor),
            Command::SetRole { user, role: wanted } => {
                self.permit(role, Action::SetRole)?;
                self.set_role(user, *wanted)
            }
            Command::TransferOwnership { to } => {
                self.permit(role, Action::TransferOwnership)?;
                self.transfer(to)
            }
            Command::Disband => self
                .permit(role, Action::Disband)
                .map(|()| Some(Change::Disbanded)),
        }
    }

    /// Who owns it.
    pub fn owner(&self) -> Option<&Arc<str>> {
        self.members
            .iter()
            .find(|(_, role)| **role == Role::Owner)
            .map(|(user, _)| user)
    }

    /// The acting member's role; None: the system.
    fn role_of(&self, actor: &Actor) -> Result<Option<Role>, Rule> {
        actor
            .user()
            .map(|user| {
                self.members
                    .get(user)
                    .copied()
                    .ok_or_else(|| Rule::NotAMember {
                        user: Arc::clone(user),
                        conversation: Arc::clone(&self.id),
                    })
            })
            .transpose()
    }

    fn permit(&self, role: Option<Role>, action: Action) -> Result<(), Rule> {
        match role {
            Some(role) if !action.is_permitted(role) => Err(Rule::NotPermitted {
                role,
                action,
                conversation: Arc::clone(&self.id),
            }),
            _ => Ok(()),
        }
    }

    fn add(&self, users: &[Arc<str>], limits: &Limits) -> Result<Option<Change>, Rule> {
        if users.is_empty() {
            return Err(Rule::Nobody { field: "user_ids" });
        }
        let mut seen = HashSet::new();
        let new = users
            .iter()
            .filter(|it| !self.members.contains_key(*it) && seen.insert(*it));
        let members: Vec<_> = new
            .map(|user| NamedMember {
                user: Arc::clone(user),
                role: Role::Member,
            })
            .collect();
        check_joining("user_ids", members.len())?;
        let count = self.member_count + members.len();
        let class = class_with(&self.id, self.class, count, limits)?;
        Ok((!members.is_empty()).then_some(Change::MembersAdded {
            members,
            becomes_large: class != self.class,
        }))
    }

    fn remove(
        &self,
        actor: &Actor,
        role: Option<Role>,
        user: &Arc<str>,
    ) -> Result<Option<Change>, Rule> {
        if actor.user() == Some(user) {
            return Err(Rule::RemovesHimself {
                user: Arc::clone(user),
            });
        }
        let Some(target) = self.members.get(user) else {
            // Who may remove nobody learns nothing about who is there.
            return self.permit(role, Action::RemoveMember).map(|()| None);
        };
        let action = match target {
            Role::Member => Action::RemoveMember,
            Role::Admin => Action::RemoveAdmin,
            Role::Owner => Action::RemoveOwner,
        };
        self.permit(role, action)?;
        if *target == Role::Owner {
            return Err(self.must_transfer(user));
        }
        Ok(Some(Change::MemberRemoved {
            user: Arc::clone(user),
        }))
    }

    fn leave(&self, actor: &Actor) -> Result<Option<Change>, Rule> {
        let user = actor.user().ok_or(Rule::NoUser)?;
        match self.members.get(user) {
            Some(Role::Owner) if self.member_count == 1 => Ok(Some(Change::Disbanded)),
            Some(Role::Owner) => Err(self.must_transfer(user)),
            _ => Ok(Some(Change::MemberLeft {
                user: Arc::clone(user),
            })),
        }
    }

    fn set_role(&self, user: &Arc<str>, wanted: Role) -> Result<Option<Change>, Rule> {
        let role = self.member(user)?;
        if wanted == Role::Owner || role == Role::Owner {
            return Err(Rule::RoleNotGivable);
        }
        Ok((role != wanted).then(|| Change::RoleChanged {
            user: Arc::clone(user),
            role: wanted,
        }))
    }

    fn transfer(&self, to: &Arc<str>) -> Result<Option<Change>, Rule> {
        self.member(to)?;
        let Some(from) = self.owner() else {
            return Err(Rule::RoleNotGivable);
        };
        Ok((from != to).then(|| Change::OwnershipTransferred {
            from: Arc::clone(from),
            to: Arc::clone(to),
        }))
    }

    fn member(&self, user: &Arc<str>) -> Result<Role, Rule> {
        self.members
            .get(user)
            .copied()
            .ok_or_else(|| Rule::UserNotMember {
                user: Arc::clone(user),
                conversation: Arc::clone(&self.id),
            })
    }

    fn must_transfer(&self, owner: &Arc<str>) -> Rule {
        Rule::OwnerMustTransfer {
            owner: Arc::clone(owner),
            conversation: Arc::clone(&self.id),
        }
    }
}

fn check_joining(field: &'static str, members: usize) -> Result<(), Rule> {
    if members > MAX_JOINING {
        return Err(Rule::TooManyAtOnce {
            field,
            members,
            max_members: MAX_JOINING,
        });
    }
    Ok(())
}

/// The class of a conversation that has so many members: what has grown large stays so.
fn class_with(
    conversation: &Arc<str>,
    class: Class,
    members: usize,
    limits: &Limits,
) -> Result<Class, Rule> {
    let max_members = limits.max_group_members.max(limits.max_large_members);
    if members > max_members {
        return Err(Rule::TooManyMembers {
            conversation: Arc::clone(conversation),
            members,
            max_members,
        });
    }
    match class {
        Class::Group if members > limits.max_group_members => Ok(Class::Large),
        class => Ok(class),
    }
}

#[cfg(test)]
mod tests;
