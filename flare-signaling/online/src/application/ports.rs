//! What the service needs from outside.

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    presence::{Connection, Gateway, Located, Registered},
    revocation::DeviceKey,
};

/// Something outside did not answer; it may later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} is unavailable: {why}")]
pub struct PortError {
    /// Which port.
    pub what: &'static str,
    /// Why.
    pub why: String,
}

/// Who is connected where. Rebuildable: gateways register again what is lost.
///
/// Obligations:
/// - **One connection a device.** Whoever connects replaces what stands; the displaced one is named once, to its displacer. Of one gateway's
///   connections the higher id is the later, and stands.
/// - **Who comes again yields.** A registration of what has stood before displaces no connection of another gateway.
/// - **Compare and delete.** Only the connection that stands is unregistered.
/// - **Leases.** A gateway is held for as long after its last renewal or registration as that said, on a clock of the store's that only
///   goes forward; then neither the gateway nor its connections are found.
/// - **All that are held.** `gateways` names every gateway of which a connection is found by a `lookup` at that moment.
/// - **A lease for what stands on it.** Whenever the store begins to hold a gateway, by a renewal or a registration, it makes a lease id
///   that it never made before. So a gateway whose id is still the same has lost nothing.
/// - **Tenants.** A user's connections are found under his tenant alone.
#[async_trait]
pub trait PresenceStore: Send + Sync + 'static {
    /// Holds a gateway for as long as `lease` from now. Returns the id of the lease that it is held on, which is not 0.
    async fn renew(&self, gateway: &Gateway, lease: Duration) -> Result<u64, PortError>;
    /// Puts connections in their devices' places, and holds their gateway as a renewal does; outcomes in their order.
    async fn register(
        &self,
        gateway: &Gateway,
        connections: Vec<Connection>,
        max_devices: usize,
        lease: Duration,
    ) -> Result<Vec<Registered>, PortError>;
    /// Removes connections that stand; returns the users left with none, as keys without a device.
    async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<Vec<DeviceKey>, PortError>;
    /// The connections of users (tenant, user), in their order.
    async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError>;
    /// The gateways that are held.
    async fn gateways(&self) -> Result<Vec<Gateway>, PortError>;
    /// The id of the lease that a gateway is held on; None: it is not held.
    async fn lease(&self, incarnation: &str) -> Result<Option<u64>, PortError>;
    /// Forgets what stands on leases that have ended; returns the devices that went.
    async fn expire(&self) -> Result<Vec<DeviceKey>, PortError>;
    /// In how long the next lease ends, if this store needs to be told by `expire`.
    async fn next_expiry(&self) -> Result<Option<Duration>, PortError>;
}

/// When users' last connections ended, to show it. Whoever was not seen for the longest may be forgotten first.
///
/// Obligations:
/// - **As noted.** What is noted of a user, by any of these services, is found until it is noted again or forgotten.
/// - **Bounded.** It does not grow for ever.
/// - **Tenants.** It is found under the user's tenant alone.
#[async_trait]
pub trait LastSeenStore: Send + Sync + 'static {
    /// Users (tenant, user) have no connection since `now_ms`, in Unix milliseconds.
    async fn note(&self, users: &[(String, String)], now_ms: i64) -> Result<(), PortError>;
    /// What was noted of users (tenant, user), in their order; 0: nothing, or it is forgotten.
    async fn of(&self, users: &[(String, String)]) -> Result<Vec<i64>, PortError>;
}

/// Which tokens are dead.
///
/// Obligations:
/// - **Durable.** When `revoke` or `note_issued` returns, what it has written survives a loss of power.
/// - **What was seen dies.** A revocation reaches every token of the device, or of any of the user's, that was noted before it began.
/// - **Only forward.** A not-before never falls.
/// - **Seen at once.** What `revoke` has returned for is in every `not_before` that begins later.
/// - **As long as it matters.** A revocation is forgotten, if at all, only when every token that it ended has expired, at the latest after [`MAX_LIFE_S`](flare_server_core::identity::MAX_LIFE_S).
/// - **Both levels.** A device's not-before is the later of its own and its whole user's.
#[async_trait]
pub trait RevocationStore: Send + Sync + 'static {
    /// Tokens of the device (or the whole user) issued up to `now_s`, or to the latest time that was noted of them, are dead. Returns what
    /// stands.
    async fn revoke(&self, device: &DeviceKey, now_s: i64) -> Result<i64, PortError>;
    /// Notes tokens that have come and were issued after `now_s`, by devices with their times of issue in seconds. What was noted up to
    /// `now_s` may be forgotten.
    async fn note_issued(&self, tokens: &[(DeviceKey, i64)], now_s: i64) -> Result<(), PortError>;
    /// Up to when tokens are dead, in the order of the devices; 0: none was revoked.
    async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError>;
}

/// Why a connection is closed from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Its device connected elsewhere.
    Replaced,
    /// An administrator's act.
    Kicked,
    /// Its token is dead.
    Revoked,
    /// Presence has lost it, and its token may be good: its client connects again.
    ConnectAgain,
}

/// The gateways' inner side.
#[async_trait]
pub trait Gateways: Send + Sync + 'static {
    /// Closes connections of one gateway; returns how many of them were open. May be repeated. One that does not answer is given up after
    /// a deadline.
    async fn close(
        &self,
        gateway: &Gateway,
        connection_ids: Vec<u64>,
        reason: CloseReason,
        message: &str,
    ) -> Result<u32, PortError>;
}
