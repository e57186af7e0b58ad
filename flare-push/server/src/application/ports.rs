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
    /// The connections of users (tenant, user), as of now: never from a cache.
    async fn lookup(&self, users: &[(String, String)]) -> Result<Located, PortError>;
}

/// Rosters at their source.
#[async_trait]
pub trait RosterSource: Send + Sync + 'static {
    /// The roster, of a version not below the last member event that is committed. `None`: there is no such conversation, or it is direct and
    /// has no event yet.
    async fn fetch(&self, conversation: &Conversation) -> Result<Option<Roster>, PortError>;
}

/// What goes to some connections of one gateway.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What.
    pub payload: Payload,
    /// To which connections.
    pub connections: Vec<u64>,
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
