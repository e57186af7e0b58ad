//! Why the domain says no.

use std::sync::Arc;

use super::{permission::Action, role::Role};

/// A refusal of the domain. The caller learns which rule, and the value that broke it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// An id is malformed or reserved.
    #[error("{field} {id:?} is not 1 to 64 characters of A-Za-z0-9._:@+=~- or is reserved")]
    Id {
        /// The request's field.
        field: &'static str,
        /// The beginning of what was sent.
        id: String,
    },
    /// A title is too long.
    #[error("title has {chars} characters, at most {max_chars} are taken")]
    TitleTooLong {
        /// The title's.
        chars: usize,
        /// The limit.
        max_chars: usize,
    },
    /// A title has control characters.
    #[error("title has control characters")]
    TitleControl,
    /// A list of users is empty.
    #[error("{field} names nobody")]
    Nobody {
        /// The request's field.
        field: &'static str,
    },
    /// The conversation would have too many members.
    #[error("{conversation} would have {members} members, at most {max_members} are allowed")]
    TooManyMembers {
        /// The conversation's id.
        conversation: Arc<str>,
        /// How many it would have.
        members: usize,
        /// The limit.
        max_members: usize,
    },
    /// One change would bring in too many users.
    #[error("{members} members at once, at most {max_members} may join by one change")]
    TooManyAtOnce {
        /// The request's field.
        field: &'static str,
        /// How many would join.
        members: usize,
        /// The limit.
        max_members: usize,
    },
    /// The user is in too many conversations.
    #[error("user {user} is in {max} conversations already, which is the limit")]
    TooManyConversations {
        /// The user.
        user: Arc<str>,
        /// The limit.
        max: u32,
    },
    /// There is none, or the caller may not know whether there is.
    #[error("conversation {conversation} is not known to the caller")]
    NotFound {
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// The caller was a member and is none.
    #[error("user {user} is no member of {conversation} any more")]
    NotAMember {
        /// The caller.
        user: Arc<str>,
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// The caller's role does not allow it.
    #[error("{} may not {} in {conversation}", role.name(), action.name())]
    NotPermitted {
        /// The caller's role.
        role: Role,
        /// What he wanted.
        action: Action,
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// The command does not exist for conversations of this class.
    #[error("{conversation} is a direct conversation: it has no title, roles or changing members")]
    Direct {
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// Nothing changes in it any more.
    #[error("conversation {conversation} is disbanded")]
    Disbanded {
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// An owner leaves, or is removed, while there are others.
    #[error("{owner} owns {conversation}: transfer the ownership first")]
    OwnerMustTransfer {
        /// The owner.
        owner: Arc<str>,
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// A command is about a user who is no member.
    #[error("user {user} is no member of {conversation}")]
    UserNotMember {
        /// The user whom the command names.
        user: Arc<str>,
        /// The conversation's id.
        conversation: Arc<str>,
    },
    /// A member wants to remove himself.
    #[error("user {user} cannot remove himself: leave instead")]
    RemovesHimself {
        /// The caller.
        user: Arc<str>,
    },
    /// A role that cannot be given so.
    #[error("the owner's role passes by a transfer of ownership only")]
    RoleNotGivable,
    /// Only users do this.
    #[error("the system has no membership, inbox or positions: name the acting user")]
    NoUser,
}
