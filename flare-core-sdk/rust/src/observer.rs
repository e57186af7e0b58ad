//! Following a client from the inside: what a test harness needs to write a history.

use bytes::Bytes;
use flare_proto::client::{Connected, SendAck};

use crate::{
    draft::Target,
    error::Refusal,
    event::{ConversationEvent, DisconnectReason},
};

/// Told of what a client does and hears, in the order in which it does, by the client's own task: return soon, and do not block.
///
/// What a method tells of commands is told before the command's first byte leaves.
pub trait Observer: Send + Sync + 'static {
    /// The command leaves for the first time.
    fn intent(&self, _command: &Intent<'_>) {}

    /// The command leaves once more.
    fn resent(&self, _client_id: &str) {}

    /// A refused command is given up, and the server is told so by a later one.
    fn abandoned(&self, _client_id: &str) {}

    /// A receipt arrived.
    fn acked(&self, _ack: &SendAck) {}

    /// A refusal of a command arrived.
    fn refused(&self, _client_id: &str, _refusal: &Refusal) {}

    /// An event arrived: also one that was seen before, or comes too early, and is not (yet) told to the owner. An own receipt's event is among them.
    fn arrived(&self, _event: &ConversationEvent) {}

    /// A sync of one conversation was answered; its events have been told.
    fn synced(&self, _answer: &SyncAnswer<'_>) {}

    /// A conversation begins from a snapshot.
    fn snapshot(&self, _conversation_id: &str, _as_of_seq: u64) {}

    /// The server named a floor above what was asked for.
    fn floor(&self, _conversation_id: &str, _floor_seq: u64) {}

    /// The server asked to sync one conversation, or (`None`) the inbox.
    fn sync_hint(&self, _conversation_id: Option<&str>) {}

    /// A connection is up.
    fn connected(&self, _connected: &Connected) {}

    /// The connection ended.
    fn disconnected(&self, _reason: &DisconnectReason) {}
}

/// A command that is about to leave.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Its client id.
    pub client_id: &'a str,
    /// Where it goes.
    pub target: &'a Target,
    /// What it does.
    pub action: &'a Action,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Says something: the encoded content.
    Send(Bytes),
    /// Takes back the message of this seq.
    Recall(u64),
}

/// What a sync brought for one conversation.
#[derive(Debug, Clone, Copy)]
pub struct SyncAnswer<'a> {
    /// The conversation.
    pub conversation_id: &'a str,
    /// The seq after which was asked.
    pub after_seq: u64,
    /// The last seq of the answer; `after_seq` if it was empty.
    pub to_seq: u64,
    /// The head that the answer named.
    pub head_seq: u64,
    /// How many events it held.
    pub events: usize,
}

/// Follows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unobserved;

impl Observer for Unobserved {}
