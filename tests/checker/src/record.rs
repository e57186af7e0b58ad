//! The vocabulary of a history: what a client writes down, and what the server holds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One device of one user: the unit that writes a history.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Client {
    /// The tenant of the token.
    pub tenant: String,
    /// The user of the token; for a backend, the name of its key.
    pub user: String,
    /// The device of the connection.
    pub device: String,
}

impl Client {
    /// A client of `tenant`.
    pub fn new(
        tenant: impl Into<String>,
        user: impl Into<String>,
        device: impl Into<String>,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
            device: device.into(),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.tenant, self.user, self.device)
    }
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who wrote it.
    pub client: Client,
    /// Position in this client's history; rises with every record.
    pub index: u64,
    /// The client's wall clock, in milliseconds since the Unix epoch. For people only: no decision rests on it.
    pub time_ms: i64,
    /// What happened.
    pub event: ClientEvent,
}

/// What a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientEvent {
    /// The client is about to send a command; written before the first byte leaves.
    Intent(Intent),
    /// The client is about to send the command `client_id` once more.
    Resent {
        /// The command.
        client_id: String,
    },
    /// The client gives the refused command `client_id` up (`Send.abandons`).
    Abandoned {
        /// The command.
        client_id: String,
    },
    /// A `SendAck` arrived.
    Acked(Acked),
    /// A refusal arrived.
    Refused(Refused),
    /// An event arrived.
    Delivered(Delivered),
    /// The client began a conversation from a snapshot, or from what it kept: it needs nothing up to `as_of`.
    Snapshot {
        /// The conversation.
        conversation: String,
        /// The last seq that the snapshot covers.
        as_of: u64,
    },
    /// The server asked the client to sync one conversation, or all.
    SyncHint {
        /// `None` for all of them.
        conversation: Option<String>,
    },
    /// The server named its retention floor, or the first event that this reader may see.
    Floor {
        /// The conversation.
        conversation: String,
        /// The lowest seq that it still answers.
        floor: u64,
    },
    /// A sync was answered; written after the records of its events.
    Sync(SyncAnswer),
    /// A connection was accepted.
    Connected,
    /// From here on the client stays connected, and every conversation that it knows is synced: it expects to be told of
    /// each later event. A `Disconnected` takes the declaration back.
    OnlineThroughout,
    /// The connection ended.
    Disconnected,
    /// The server closed the connection for a reason of identity or policy.
    Kicked {
        /// The reason given.
        reason: String,
    },
    /// The server was stopped or killed, and started again.
    Restart,
    /// A partition changed its owner.
    Takeover {
        /// The number of the new epoch.
        epoch: u64,
    },
    /// A member event was seen.
    Member {
        /// The conversation.
        conversation: String,
        /// The seq of the member event.
        at_seq: u64,
        /// What it changed.
        change: MemberChange,
    },
    /// The client has stopped, and claims to have read the conversation up to `read_to`, its head.
    End {
        /// The conversation.
        conversation: String,
        /// The last seq that it claims.
        read_to: u64,
    },
    /// The client has stopped, and claims that every conversation of its user is synced, also those it never heard of.
    Quiesced,
}

/// A command, as its sender means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The client id of the command.
    pub client_id: String,
    /// Where it goes.
    pub target: Target,
    /// The user in whose name it is sent: the client's own, except for backends.
    pub sender: String,
    /// [`body_hash`] of the content bytes.
    pub body_hash: String,
    /// What the command makes.
    #[serde(default)]
    pub kind: Kind,
}

/// Where a command goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A conversation by id.
    Conversation(String),
    /// The direct conversation with a user.
    User(String),
}

/// The kind of an event, as far as the promises differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message by a user.
    #[default]
    Message,
    /// The recall of a message, by a user.
    Recall,
    /// A change of members, or of the conversation itself.
    Member,
    /// Everything else, system messages included: neither intent nor membership of its sender is asked for.
    Other,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// The client id of the command.
    pub client_id: String,
    /// The conversation that keeps the event.
    pub conversation: String,
    /// Its seq.
    pub seq: u64,
    /// Its message id.
    pub message_id: String,
    /// The server knew the command already.
    pub duplicate: bool,
    /// The content that this very send bore; needed only while two contents of one client id are unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<String>,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The client id of the command.
    pub client_id: String,
    /// The error code, in the contract's spelling (`RETRY_IN_ORDER`).
    pub code: String,
    /// The same command may be sent again.
    pub retryable: bool,
}

/// An event, as it reached a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The conversation.
    pub conversation: String,
    /// Its seq.
    pub seq: u64,
    /// Its message id.
    pub message_id: String,
    /// The user in its header.
    pub sender: String,
    /// How it came.
    pub via: Via,
    /// The client id of the command that made it, if the client was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// [`body_hash`] of the content bytes; `None` if the server withheld them (a recalled message).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<String>,
    /// Its kind, if the client tells them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The number of countable events up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u64>,
    /// The server's time of the event, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time_ms: Option<i64>,
    /// The message that it recalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_seq: Option<u64>,
    /// The tenant in its header, if the client looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

impl Delivered {
    /// A message with content; the optional fields are empty.
    pub fn message(
        conversation: impl Into<String>,
        seq: u64,
        message_id: impl Into<String>,
        sender: impl Into<String>,
        body_hash: impl Into<String>,
        via: Via,
    ) -> Self {
        Self {
            conversation: conversation.into(),
            seq,
            message_id: message_id.into(),
            sender: sender.into(),
            via,
            client_id: None,
            body_hash: Some(body_hash.into()),
            kind: None,
            ordinal: None,
            server_time_ms: None,
            recalled_seq: None,
            tenant: None,
        }
    }
}

/// How an event came to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Pushed by the server.
    Deliver,
    /// In the answer to a sync.
    Sync,
    /// In a page of history.
    History,
    /// By the client's own receipt.
    OwnAck,
}

/// The answer to a sync: the events `from + 1 ..= to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// The conversation.
    pub conversation: String,
    /// The seq after which the client asked.
    pub from: u64,
    /// The last seq of the answer; `from` if it was empty.
    pub to: u64,
    /// The committed head that the answer named.
    pub head: u64,
    /// How many events it held, if the client counted: then they must be all of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

/// A change of members, in force from the seq of its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberChange {
    /// The user is a member from this seq on.
    Joined {
        /// Who.
        user: String,
        /// The first seq that the history's visibility lets him read; `None` for the seq of his joining.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history_from: Option<u64>,
    },
    /// The user gets this seq, and nothing after it.
    Removed {
        /// Who.
        user: String,
    },
}

/// An event in the server's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// The tenant.
    pub tenant: String,
    /// The conversation.
    pub conversation: String,
    /// 1, 2, 3, …
    pub seq: u64,
    /// The number of countable events up to this one.
    pub ordinal: u64,
    /// Unique in the whole deployment.
    pub message_id: String,
    /// The user in its header.
    pub sender: String,
    /// The client id of the command that made it.
    pub client_id: String,
    /// [`body_hash`] of the content bytes; `None` if they were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Its kind.
    pub kind: Kind,
    /// What it changed among the members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_changes: Vec<MemberChange>,
    /// The two users of a direct conversation; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<String>,
    /// The message that it recalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalled_seq: Option<u64>,
}

/// The hash by which histories name a content: XXH3 of 128 bits, in hexadecimal.
pub fn body_hash(content: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(content))
}
