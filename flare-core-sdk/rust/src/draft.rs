//! What is to be sent.

use std::time::Duration;

use bytes::Bytes;
use flare_proto::message::{Content, Text, content::Kind};
use prost::Message;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A conversation, by its id.
    Conversation(String),
    /// The direct conversation with this user; it exists by being written to.
    User(String),
}

impl Target {
    /// A conversation.
    pub fn conversation(id: impl Into<String>) -> Self {
        Self::Conversation(id.into())
    }

    /// The direct conversation with a user.
    pub fn user(id: impl Into<String>) -> Self {
        Self::User(id.into())
    }
}

/// A message before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub(crate) target: Target,
    pub(crate) content: Bytes,
    pub(crate) client_id: Option<String>,
    pub(crate) trace_id: String,
    pub(crate) deadline: Option<Duration>,
}

impl Draft {
    /// A message of any content.
    pub fn new(target: Target, content: &Content) -> Self {
        Self::encoded(target, content.encode_to_vec().into())
    }

    /// A message of text.
    pub fn text(target: Target, text: impl Into<String>) -> Self {
        let text = Text { text: text.into() };
        let content = Content {
            kind: Some(Kind::Text(text)),
            ..Content::default()
        };
        Self::new(target, &content)
    }

    /// A message whose content is encoded already (`flare.message.v1.Content`). A repetition must bear the very same bytes.
    pub fn encoded(target: Target, content: Bytes) -> Self {
        Self {
            target,
            content,
            client_id: None,
            trace_id: String::new(),
            deadline: None,
        }
    }

    /// Under this client id instead of one that the client makes. With the id of an earlier message and the same content it is that message once more, which
    /// is stored once: so a message survives its process.
    #[must_use]
    pub fn with_client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Under this W3C trace id, 32 hexadecimal digits.
    #[must_use]
    pub fn with_trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = trace_id.into();
        self
    }

    /// Given up after this time instead of [`crate::Options::send_deadline`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// The receipt of a message or operation: it is durable, and this is its final place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its client id.
    pub client_id: String,
    /// The conversation; of a message to a user the direct one.
    pub conversation_id: String,
    /// Its id, a ULID.
    pub message_id: String,
    /// Its place in the conversation.
    pub seq: u64,
    /// The server's time of it, in Unix milliseconds.
    pub time_ms: i64,
    /// The server had it before: this is its first receipt, told again.
    pub duplicate: bool,
    /// The W3C trace id of the request that this receipt answers.
    pub trace_id: String,
}
