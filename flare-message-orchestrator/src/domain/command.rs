//! What comes to an owner, checked in form, and what goes back.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::message::{ConversationClass, EventKind};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, Fingerprint, IdKey, Receipt};

/// Who acts. From the token, never from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActorKind {
    /// A user by his own token.
    User,
    /// A business backend acting as a user.
    Api,
    /// A business backend acting as the system.
    System,
    /// A service of the core: its changes were authorised where they were decided.
    Service,
}

/// Who acts, and from which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Of which kind.
    pub kind: ActorKind,
    /// Empty: the system.
    pub user: Arc<str>,
    /// Empty: not over a client link.
    pub device: Arc<str>,
}

/// Where a command came from and where its receipt goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Unique among this process's streams of commands.
    pub stream: u64,
    /// Chosen by the caller, given back.
    pub correlation: u64,
    /// The caller's ordered lane in the stream; 0: none.
    pub lane: u64,
    /// After a retryable refusal, every later item of the lane up to this generation is refused.
    pub lane_generation: u32,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say something.
    Send {
        /// The content's bytes as received; a part of the command's `body`, which they share memory with.
        content: Bytes,
        /// Who is mentioned, each once.
        mentions: Vec<String>,
        /// Whether everybody is.
        mention_all: bool,
    },
    /// Take a message back.
    Recall {
        /// The message.
        seq: u64,
    },
    /// A change that flare-session decided.
    Change {
        /// Which.
        kind: EventKind,
        /// The conversation's class; unspecified: as it is.
        class: ConversationClass,
    },
}

/// A command whose form is right: ids, sizes and content were checked at the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where it came from.
    pub origin: Origin,
    /// Where it goes.
    pub conversation: ConversationKey,
    /// For a direct conversation that was named by the other user: both users, sorted. Such a conversation need not exist.
    pub participants: Option<[Arc<str>; 2]>,
    /// Who acts.
    pub actor: Actor,
    /// Unique among the actor's commands to the conversation.
    pub client_id: Arc<str>,
    /// W3C trace id, 16 bytes, or empty.
    pub trace_id: Bytes,
    /// Of target and content as received.
    pub fingerprint: Fingerprint,
    /// What is asked for.
    pub action: Action,
    /// The event's encoded body.
    pub body: Bytes,
    /// Refused at the door (a rate limit): the owner answers with it, in order, because later commands of the lane depend on it.
    pub refused: Option<Box<Refusal>>,
}

impl Command {
    /// The command's identity.
    pub fn id_key(&self) -> IdKey {
        IdKey::new(
            self.conversation.clone(),
            Arc::clone(&self.actor.user),
            Arc::clone(&self.client_id),
        )
    }

    /// What it takes in memory and in a record, at most, in bytes.
    pub fn size_bytes(&self) -> usize {
        let mentions = match &self.action {
            Action::Send { mentions, .. } => mentions.iter().map(|it| it.len() + 4).sum(),
            _ => 0,
        };
        let participants = self
            .participants
            .as_ref()
            .map_or(0, |[a, b]| a.len() + b.len());
        let ids = self.conversation.tenant.len()
            + self.conversation.conversation.len()
            + self.actor.user.len()
            + self.actor.device.len()
            + self.client_id.len()
            + self.trace_id.len();
        self.body.len() + mentions + participants + ids + HEADER_BYTES
    }
}

/// Numbers, tags, message id, and the participants that a head adds: what a header takes beside the command's own texts, at most.
const HEADER_BYTES: usize = 384;

/// Whether the id is one of a direct conversation: ids of groups never begin so.
pub fn is_direct_id(conversation: &str) -> bool {
    conversation.starts_with("d_")
}

/// A command's final place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The conversation's id.
    pub conversation: Arc<str>,
    /// Where.
    pub receipt: Receipt,
    /// The first receipt of the same command, given again.
    pub duplicate: bool,
}

/// What a user is to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// There is no such conversation.
    NoConversation,
    /// Never a member.
    Stranger,
    /// A member.
    Active(Role),
    /// A member no more.
    Former,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// May do everything.
    Owner,
    /// May take back others' messages.
    Admin,
    /// May send, and take back his own.
    Member,
}

/// The session's answer for one user and conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    /// What he is.
    pub standing: Standing,
    /// Whether the conversation has ended.
    pub disbanded: bool,
    /// The seq of the last member event that the answer includes.
    pub as_of: u64,
}

impl Membership {
    /// Whether it is worth keeping: refusals are asked for anew with the next command.
    pub(crate) fn is_permission(&self) -> bool {
        matches!(self.standing, Standing::Active(_)) && !self.disbanded
    }
}
