//! What a client tells its owner.

use std::time::Duration;

use bytes::Bytes;
use flare_proto::{
    client::{CloseReason, Connected, Signal},
    message::{self, Content, EventBody, EventHeader, EventKind, event_body::Body},
    session::InboxEntry,
    storage::Message,
};
use prost::Message as _;

use crate::error::Refusal;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A connection is up. What was missed follows.
    Connected(Box<Connected>),
    /// The connection ended, or an attempt at one failed.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// In how long the next attempt is made; `None`: never, the client has ended, and nothing follows.
        retry_in: Option<Duration>,
    },
    /// An event of a conversation: per conversation each seq once, in order, without a hole but for a [`Event::Floor`] or a
    /// [`Event::Snapshot`] told before.
    Conversation(Box<ConversationEvent>),
    /// Where a conversation begins that is seen first, as [`crate::FirstSight::Snapshot`] wants it. Its events follow from `as_of_seq` on.
    Snapshot {
        /// The conversation.
        conversation_id: String,
        /// What the messages cover; sync goes on from here.
        as_of_seq: u64,
        /// The oldest seq that the user may read.
        floor_seq: u64,
        /// By rising seq.
        messages: Vec<Message>,
    },
    /// What follows begins at `floor_seq`: older events are gone, or not for this user.
    Floor {
        /// The conversation.
        conversation_id: String,
        /// The next seq.
        floor_seq: u64,
    },
    /// The conversation is told up to its head as the server named it.
    SyncedTo {
        /// The conversation.
        conversation_id: String,
        /// The head.
        seq: u64,
    },
    /// The conversation cannot be read: the user is not in it, or it is not there. Nothing of it follows until the server tells of it again.
    Unreadable {
        /// The conversation.
        conversation_id: String,
        /// What the server says.
        refusal: Refusal,
    },
    /// The user's row of a conversation, or its head, changed.
    InboxChanged(Box<InboxEntry>),
    /// All that changed in the inbox has been told.
    InboxSynced,
    /// Typing, read marks, settings. Signals are not repeated: a slow consumer, or one that is offline, misses them.
    Signal(Box<Signal>),
}

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// Pushed by the server.
    Deliver,
    /// In the answer to a sync.
    Sync,
    /// By the receipt of this client's own command; the event is put together from what was sent.
    OwnAck,
}

/// Why a connection ended, or did not come to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DisconnectReason {
    /// Nobody answers at the address, or what answers is no server of this link.
    #[error("{0}")]
    Unreachable(String),
    /// The server did not take the `Connect`.
    #[error("the server refused: {0}")]
    Refused(Refusal),
    /// No token could be had.
    #[error("no token: {0}")]
    NoToken(String),
    /// The server closed, for this reason.
    #[error("closed by the server: {}{}", reason.as_str_name(), if message.is_empty() { String::new() } else { format!(" ({message})") })]
    Closed {
        /// The reason.
        reason: CloseReason,
        /// For people.
        message: String,
    },
    /// The server drains, and asked to connect again.
    #[error("the server is going away")]
    GoingAway,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server was silent for two heartbeats, or did not answer a request.
    #[error("the server is silent")]
    Silent,
    /// The server sent what is no frame.
    #[error("the server does not speak the protocol: {0}")]
    Protocol(String),
    /// The owner of the client closed it, or dropped all of it.
    #[error("closed by its owner")]
    ByOwner,
}

/// An event of a conversation's log.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversationEvent {
    /// Who, where, when, what kind.
    pub header: EventHeader,
    /// The body as the server sent it, an encoded `EventBody`; empty where the server withholds it (a recalled message).
    pub body: Bytes,
    /// The whole event as the server sent it, an encoded `Event`.
    pub raw: Bytes,
    /// How it came.
    pub via: Via,
}

impl ConversationEvent {
    pub(crate) fn decode(raw: Bytes, via: Via) -> Result<Self, String> {
        let event = message::Event::decode(raw.clone()).map_err(|error| error.to_string())?;
        let header = event.header.ok_or("an event without a header")?;
        if header.conversation_id.is_empty() || header.seq == 0 {
            return Err("an event without a place".to_owned());
        }
        Ok(Self {
            header,
            body: event.body,
            raw,
            via,
        })
    }

    /// What the event is; an unknown number stands for a kind newer than this client.
    pub fn kind(&self) -> EventKind {
        self.header.kind()
    }

    /// Whether it is a message that was taken back before it came, and so came without its content. The recall is an event of its own, as it
    /// is for a message that came whole.
    pub fn is_withheld(&self) -> bool {
        self.kind() == EventKind::MessageCreated && self.body.is_empty()
    }

    /// The decoded body; `None` if it is withheld, or newer than this client.
    pub fn body(&self) -> Option<Body> {
        EventBody::decode(self.body.clone()).ok()?.body
    }

    /// The bytes of a message's content, as its sender sent them.
    pub fn content_bytes(&self) -> Option<Bytes> {
        match self.body()? {
            Body::MessageCreated(created) => Some(created.content),
            _ => None,
        }
    }

    /// A message's content.
    pub fn content(&self) -> Option<Content> {
        Content::decode(self.content_bytes()?).ok()
    }

    /// What a message says in words: its text, or its fallback where its kind has none.
    pub fn text(&self) -> Option<String> {
        use flare_proto::message::content::Kind;
        let content = self.content()?;
        Some(match content.kind {
            Some(Kind::Text(it)) => it.text,
            Some(Kind::Quote(it)) => it.text,
            Some(Kind::Notice(it)) => it.text,
            _ => content.fallback,
        })
    }

    /// What it costs to keep it, in bytes, about.
    pub(crate) fn cost(&self) -> usize {
        self.raw.len() + 256
    }
}
