//! Gateways say what they hold.

use std::{sync::Arc, time::Duration};

use flare_server_core::{clock::Clock, identity::is_dead};
use tokio::sync::Notify;

use super::{
    closing::Closing,
    ports::{CloseReason, LastSeenStore, PortError, PresenceStore},
    tokens::Tokens,
};
use crate::domain::{
    presence::{Connection, Gateway, Located, Registered},
    revocation::DeviceKey,
};

/// Told to a connection whose device has another.
const REPLACED: &str = "the device connected elsewhere";
/// Told to a connection that a dead token displaced.
const LOST: &str = "presence has lost the connection: connect again";

/// Leases that end in a shorter time than this are ended together.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands.
    Stands,
    /// Its token is dead.
    Revoked,
    /// The user has too many devices connected.
    TooManyDevices {
        /// How many he may have.
        limit: usize,
    },
    /// A later connection of the device stands.
    Outdated,
    /// It came again, and the device has a connection on another gateway: its client connects again, if it lives.
    Yields,
}

/// A connection whose token was alive before it was registered.
struct Candidate {
    /// Its place among the outcomes.
    index: usize,
    device: DeviceKey,
    connection_id: u64,
    issued_s: i64,
}

fn displaced(registered: Registered) -> Option<Located> {
    match registered {
        Registered::Stands { displaced } => displaced,
        Registered::TooManyDevices | Registered::Outdated | Registered::Yields => None,
    }
}

/// The commands of gateways.
pub struct Registration {
    /// Presence.
    pub presence: Arc<dyn PresenceStore>,
    /// Dead tokens.
    pub tokens: Tokens,
    /// Whom to tell of displaced connections.
    pub closing: Closing,
    /// Says when somebody was last seen.
    pub clock: Arc<dyn Clock>,
    /// Ends of last connections.
    pub last_seen: Arc<dyn LastSeenStore>,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u32,
    /// Devices of one user that may be connected at once.
    pub max_devices: usize,
    /// Tells the reaper that there is a lease to wait for.
    pub lease_added: Notify,
}

impl Registration {
    /// Renews a gateway's lease, and returns its id. Another one than the gateway knows: it registers all its connections again.
    pub async fn renew(&self, gateway: &Gateway) -> Result<u64, PortError> {
        let lease_id = self.presence.renew(gateway, self.lease()).await?;
        self.lease_added.notify_one();
        Ok(lease_id)
    }

    /// Registers connections, given with their tokens' issue times in seconds.
    ///
    /// Revocations are read twice. Before, so that a dead token displaces nothing; and after, so that a revocation that is written in
    /// between finds the registration, or is found by it. In between, a token that was issued ahead of our clock is noted, so that
    /// a revocation reaches it before our clock does.
    pub async fn register(
        self: &Arc<Self>,
        gateway: &Gateway,
        connections: Vec<(Connection, i64)>,
    ) -> Result<Vec<Outcome>, PortError> {
        let devices: Vec<DeviceKey> = connections
            .iter()
            .map(|(it, _)| it.device.clone())
            .collect();
        let not_before = self.tokens.not_before(&devices).await?;
        let outcomes = vec![Outcome::Revoked; connections.len()];
        let (mut alive, mut candidates) = (Vec::new(), Vec::new());
        for (index, ((connection, issued_s), not_before_s)) in
            connections.into_iter().zip(not_before).enumerate()
        {
            if !is_dead(issued_s, not_before_s) {
                candidates.push(Candidate {
                    index,
                    device: connection.device.clone(),
                    connection_id: connection.connection_id,
                    issued_s,
                });
                alive.push(connection);
            }
        }
        if alive.is_empty() {
            return Ok(outcomes);
        }
        let issued: Vec<_> = candidates
            .iter()
            .map(|it| (it.device.clone(), it.issued_s))
            .collect();
        self.tokens.note_issued(&issued).await?;
        let registered = self
            .presence
            .register(gateway, alive, self.max_devices, self.lease())
            .await?;
        self.lease_added.notify_one();
        // In a task of its own: what was displaced is closed though the gateway waits for the answer no longer.
        let settling = Arc::clone(self).settle(gateway.clone(), candidates, registered, outcomes);
        tokio::spawn(settling).await.map_err(|error| PortError {
            what: "registration",
            why: error.to_string(),
        })?
    }

    /// Decides what became of those whose tokens were alive before they were registered, and closes what they displaced.
    async fn settle(
        self: Arc<Self>,
        gateway: Gateway,
        candidates: Vec<Candidate>,
        registered: Vec<Registered>,
        mut outcomes: Vec<Outcome>,
    ) -> Result<Vec<Outcome>, PortError> {
        let devices: Vec<DeviceKey> = candidates.iter().map(|it| it.device.clone()).collect();
        let not_before = match self.tokens.not_before(&devices).await {
            Ok(not_before) => not_before,
            Err(error) => {
                // Nobody else will ever name them.
                let displaced = registered.into_iter().filter_map(displaced).collect();
                self.close(displaced, CloseReason::Replaced, REPLACED);
                return Err(error);
            }
        };
        let (mut dead, mut replaced, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for ((candidate, registered), not_before_s) in
            candidates.into_iter().zip(registered).zip(not_before)
        {
            let revoked = is_dead(candidate.issued_s, not_before_s);
            let outcome = match registered {
                Registered::TooManyDevices => Outcome::TooManyDevices {
                    limit: self.max_devices,
                },
                Registered::Outdated => Outcome::Outdated,
                Registered::Yields => Outcome::Yields,
                // The revocation has not found what this one displaced. That may stand on a dead token or on a good one: its client
                // connects again, and is judged by its own.
                Registered::Stands { displaced } if revoked => {
                    lost.extend(displaced);
                    dead.push((candidate.device, candidate.connection_id));
                    Outcome::Revoked
                }
                Registered::Stands { displaced } => {
                    replaced.extend(displaced);
                    Outcome::Stands
                }
            };
            if let Some(place) = outcomes.get_mut(candidate.index) {
                *place = outcome;
            }
        }
        self.close(replaced, CloseReason::Replaced, REPLACED);
        self.close(lost, CloseReason::ConnectAgain, LOST);
        if !dead.is_empty() {
            self.unregister(&gateway.incarnation, &dead).await?;
        }
        Ok(outcomes)
    }

    /// Closes displaced connections. Nobody waits for it: their gateway may have gone, and takes long then to be given up.
    fn close(&self, displaced: Vec<Located>, reason: CloseReason, message: &'static str) {
        if displaced.is_empty() {
            return;
        }
        let closing = self.closing.clone();
        tokio::spawn(async move { closing.close(displaced, reason, message).await });
    }

    /// Removes connections that stand.
    pub async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<(), PortError> {
        let gone = self.presence.unregister(incarnation, connections).await?;
        self.note_last_seen(gone).await;
        Ok(())
    }

    /// It is only shown: that it is not known keeps nobody from anything.
    async fn note_last_seen(&self, gone: Vec<DeviceKey>) {
        let users: Vec<_> = gone.into_iter().map(|it| (it.tenant, it.user)).collect();
        if users.is_empty() {
            return;
        }
        if let Err(error) = self.last_seen.note(&users, self.clock.now_ms()).await {
            tracing::warn!(%error, users = users.len(), "when they were last seen is not known");
        }
    }

    /// Ends leases in time; runs for ever. While there is no lease there is no timer.
    pub async fn reap(&self) {
        loop {
            match self.presence.next_expiry().await {
                Ok(Some(wait)) => {
                    tokio::time::sleep(wait.max(SHORTEST_WAIT)).await;
                    match self.presence.expire().await {
                        Ok(gone) if !gone.is_empty() => {
                            tracing::warn!(connections = gone.len(), "a gateway's lease ended");
                            self.note_last_seen(gone).await;
                        }
                        Ok(_) => {}
                        Err(error) => {
                            tracing::warn!(%error, "leases were not ended; trying again");
                            self.pause().await;
                        }
                    }
                }
                Ok(None) => self.lease_added.notified().await,
                Err(error) => {
                    tracing::warn!(%error, "leases are not known; trying again");
                    self.pause().await;
                }
            }
        }
    }

    /// Before the store is asked once more that has failed.
    async fn pause(&self) {
        tokio::time::sleep(self.lease()).await;
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.into())
    }
}
