//! What the service needs from outside.

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::{event::Conversation, roster::Roster};

/// Something outside did not answer; it may later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} is unavailable: {why}")]
pub struct PortError {
    /// Which port.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// A gateway's incarnation and where its inner side answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Made at the gateway's start.
    pub incarnation: String,
    /// Where its inner side answers; empty: in this process.
    pub endpoint: String,
}

/// A device's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Index into [`Located::gateways`].
    pub gateway: usize,
    /// Its id there.
    pub id: u64,
    /// The device.
    pub device: String,
}

/// The connections of some users.
#[derive(Clone, Debug, Default)]
pub struct Located {
    /// In the order of the users.
    pub users: Vec<Vec<Connection>>,
    /// The gateways that connections name by index.
    pub gateways: Vec<Gateway>,
}

/// Who is connected where.
#[async_trait]
pub trait Presence: Send + Sync + 'static {
    /// The connections of users (tenant, user), as of now: never from a cache. `all_gateways`: every gateway is named, whoever is connected to it.
    async fn lookup(
        &self,
        users: &[(String, String)],
        all_gateways: bool,
    ) -> Result<Located, PortError>;
}

/// Which gateways have members of some large conversations, as far as gateways have told.
#[derive(Clone, Debug, Default)]
pub struct Interested {
    /// Whoever is not among them may be interested in anything.
    pub telling: Vec<Gateway>,
    /// In the order of the conversations: indexes into `telling`.
    pub conversations: Vec<Vec<usize>>,
}

/// What gateways are interested in.
#[async_trait]
pub trait Interest: Send + Sync + 'static {
    /// Whom some conversations interest, as of now: never from a cache.
    async fn interested(&self, conversations: &[&Conversation]) -> Result<Interested, PortError>;
}

/// What a source says of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Who is in it.
    Members(Roster),
    /// It is large. The seq of the last member event that is committed.
    Large {
        /// That seq.
        member_seq: u64,
    },
}

/// Rosters at their source.
#[async_trait]
pub trait RosterSource: Send + Sync + 'static {
    /// The roster, of a version not below the last member event that is committed. `None`: there is no such conversation, or it is direct and
    /// has no event yet. Of whatever class: of a large one it is long.
    async fn fetch(&self, conversation: &Conversation) -> Result<Option<Roster>, PortError>;

    /// Likewise, but that a large conversation's members are not asked for.
    async fn find(&self, conversation: &Conversation) -> Result<Option<Found>, PortError>;
}

/// What goes to some connections of one gateway.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What.
    pub payload: Payload,
    /// To which connections.
    pub connections: Vec<u64>,
    /// An event of a large conversation: also to its members at the gateway.
    pub members: Option<MembersHere>,
}

/// What a gateway is told with an event of a large conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembersHere {
    /// The seq of the last member event before it. Where that is not known: of a later one.
    pub member_seq: u64,
    /// The connections are those of all members.
    pub named_all: bool,
}

/// What a delivery carries, encoded once.
#[derive(Clone, Debug)]
pub enum Payload {
    /// An encoded `flare.message.v1.Event`.
    Event(Bytes),
    /// An encoded `flare.client.v1.Signal`.
    Signal(Bytes),
    /// Something was lost: sync the inbox.
    SyncHint,
}

/// The gateways.
#[async_trait]
pub trait Gateways: Send + Sync + 'static {
    /// Hands over deliveries, which the gateway puts out in order. Returns when they are on their way, or when the gateway was given up: then it tells its
    /// connections to sync as soon as it is reached again, or its lease ends and they connect elsewhere.
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>);

    /// Has every gateway tell all its connections to sync.
    fn start_over(&self);
}
