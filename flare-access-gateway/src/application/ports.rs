//! What the gateway asks of other services.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_storage_model::ConversationKey;
use futures::stream::BoxStream;
use tokio::sync::mpsc;

use crate::domain::{
    Identity,
    large::{Place, UserKey},
    positions::Acknowledged,
};

/// What presence knows of a connection.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Whose.
    pub identity: Arc<Identity>,
    /// As the client names it.
    pub platform: Box<str>,
    /// Unique in this gateway's incarnation, rising.
    pub connection_id: u64,
    /// Unix milliseconds.
    pub connected_ms: i64,
    /// The token's, in Unix seconds.
    pub token_issued_s: i64,
    /// It has stood before, and yields to its device's connection on another gateway. False: its device connects, and displaces that.
    pub again: bool,
}

/// A gateway's lease.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The lease on which presence holds this gateway.
    pub id: u64,
    /// Whether it is the one that was named. False: what stood on that one is lost.
    pub known: bool,
    /// Renew before this has passed.
    pub lasts: Duration,
}

/// Who is connected where.
///
/// Obligations: every call names this gateway's incarnation; outcomes come in the order of the connections; a registration that stands was
/// compared with the revocations after it stood; unregistering removes exactly the connection that is named, or nothing. All may be repeated.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// Keeps what is registered alive. `lease_id` names the lease on which all connections were last registered; 0: none.
    async fn renew(&self, lease_id: u64) -> Result<Lease, Refusal>;
    /// Registers connections; a refused one is not registered, and cannot stay.
    async fn register(
        &self,
        connections: &[Registration],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal>;
    /// Forgets connections.
    async fn unregister(&self, connections: &[Registration]) -> Result<(), Refusal>;
}

/// Where a command goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To an existing conversation.
    Conversation(Box<str>),
    /// To the direct conversation with this user.
    User(Box<str>),
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends this content, as the client's bytes.
    Send(Bytes),
    /// Takes a message back.
    Recall {
        /// Of which seq.
        seq: u64,
    },
}

/// A client's command to a conversation.
#[derive(Debug)]
pub struct Command {
    /// Whose.
    pub identity: Arc<Identity>,
    /// Where to.
    pub target: Target,
    /// Unique among the user's commands to the conversation.
    pub client_id: Box<str>,
    /// Of the conversation: modulo the partitions of the log it is the conversation's.
    pub place: u64,
    /// The connection's ordered lane to the conversation.
    pub lane: u64,
    /// After a refusal for now, what of the lane has this generation or a lower one is refused.
    pub generation: u32,
    /// As W3C Trace Context has it.
    pub trace_id: [u8; 16],
    /// What.
    pub action: Action,
}

/// A command on its way, with what its receipt names.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Unique in the stream.
    pub correlation: u64,
    /// The command.
    pub command: Arc<Command>,
}

/// The final place of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// In which conversation.
    pub conversation: String,
    /// A ULID.
    pub message_id: String,
    /// Its place.
    pub seq: u64,
    /// How many countable events the conversation has with it.
    pub ordinal: u64,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// The first receipt of the same command, given again.
    pub duplicate: bool,
}

/// The answer to a command: durable at its place, or refused.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Of which submission.
    pub correlation: u64,
    /// Its place, or why it has none.
    pub result: Result<Placed, Refusal>,
    /// Beside NOT_OWNER: where the owner answers, as far as whoever was asked knows.
    pub owner: Option<Box<str>>,
}

/// An ordered stream of commands.
pub struct SubmitStream {
    /// Takes batches; closed when the stream has ended.
    pub commands: mpsc::Sender<Vec<Submission>>,
    /// In the order of decisions. An end or an error leaves what has no receipt unknown: it may be placed or not.
    pub receipts: BoxStream<'static, Result<Vec<Receipt>, Refusal>>,
}

/// The owners of the conversations' log.
///
/// Obligations: commands to a conversation are decided in the order in which they were sent; a command that comes again gets its first receipt, whoever
/// owns its partition then; a `Placed` is durable; NOT_OWNER: the command was not decided, nor is anything of its lane behind it; lanes last as long as
/// the stream.
#[async_trait]
pub trait Orchestrator: Send + Sync + 'static {
    /// Begins a stream to the process that answers at `endpoint`; empty: this one.
    async fn open(&self, endpoint: &str) -> Result<SubmitStream, Refusal>;
}

/// Unary calls of any service, by the contract's name of the method: "flare.session.v1.SessionService/SyncInbox".
#[async_trait]
pub trait Services: Send + Sync + 'static {
    /// Sends a request's bytes and gives back the answer's, of at most `max_reply_bytes`.
    async fn call(
        &self,
        method: &str,
        request: Bytes,
        max_reply_bytes: usize,
    ) -> Result<Bytes, Refusal>;
}

/// Where delivered positions are kept. A lower position than a stored one changes nothing, so all may be repeated.
#[async_trait]
pub trait PositionStore: Send + Sync + 'static {
    /// Stores some; answers, in their order, which were taken: others are put again later.
    async fn put(&self, positions: &[Acknowledged]) -> Result<Vec<bool>, Refusal>;
}

/// Somebody types, or stops to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Who.
    pub identity: Arc<Identity>,
    /// Where.
    pub conversation: Box<str>,
    /// Whether he begins.
    pub active: bool,
}

/// Tells participants what is stored nowhere. May be lost.
#[async_trait]
pub trait Signals: Send + Sync + 'static {
    /// Passes some on.
    async fn pass_on(&self, signals: Vec<Typing>) -> Result<(), Refusal>;
}

/// Where some users are.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// In large conversations.
    pub places: Vec<Place>,
    /// The users, by index, of whom more may be to tell in a moment.
    pub incomplete: Vec<usize>,
}

/// Which large conversations users are in.
///
/// Obligation: of a user who joins one by an event that somebody has seen, or whose group becomes one by it, that is answered, or that his answer is
/// incomplete.
#[async_trait]
pub trait Memberships: Send + Sync + 'static {
    /// Where at most 500 users are.
    async fn large(&self, users: &[Arc<UserKey>]) -> Result<Places, Refusal>;
}

/// What a gateway says of its interest in large conversations.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Members of these are connected.
    pub begun: Vec<Arc<ConversationKey>>,
    /// None are any more.
    pub ended: Vec<Arc<ConversationKey>>,
    /// The first statement is not at its end.
    pub more: bool,
}

/// A way to tell an instance of flare-signaling-route, everything at first.
pub struct InterestStream {
    /// Takes statements; dropped, it is a farewell.
    pub statements: mpsc::Sender<Statement>,
    /// One for each that was taken in.
    pub taken: BoxStream<'static, Result<(), Refusal>>,
}

/// The instances of flare-signaling-route.
#[async_trait]
pub trait Routers: Send + Sync + 'static {
    /// Where they answer, as soon as it is something else than what is known. Cancel safe.
    async fn instances(&self, known: &BTreeSet<String>) -> BTreeSet<String>;
    /// Begins to tell one; empty: the one in this process.
    async fn open(&self, endpoint: &str) -> Result<InterestStream, Refusal>;
}
