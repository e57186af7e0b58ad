//! Gateways say what they hold.

use std::{collections::HashMap, sync::Arc};

use flare_server_core::{clock::Clock, identity::is_dead};
use tokio::sync::Notify;

use super::{
    ports::{CloseReason, Gateways, PortError, PresenceStore, RevocationStore},
    queries::LastSeen,
};
use crate::domain::{
    presence::{Connection, Gateway, Located, Registered},
    revocation::DeviceKey,
};

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
}

/// The commands of gateways.
pub struct Registration {
    /// Presence.
    pub presence: Arc<dyn PresenceStore>,
    /// Dead tokens.
    pub revocations: Arc<dyn RevocationStore>,
    /// Whom to tell of displaced connections.
    pub gateways: Arc<dyn Gateways>,
    /// For leases.
    pub clock: Arc<dyn Clock>,
    /// Ends of last connections.
    pub last_seen: LastSeen,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u32,
    /// Devices of one user that may be connected at once.
    pub max_devices: usize,
    /// Tells the reaper that there is a lease to wait for.
    pub lease_added: Notify,
}

impl Registration {
    /// Renews a gateway's lease. False: it is not known, and registers all its connections again.
    pub async fn renew(&self, gateway: &Gateway) -> Result<bool, PortError> {
        let known = self.presence.renew(gateway, self.lease_end_ms()).await?;
        self.lease_added.notify_one();
        Ok(known)
    }

    /// Registers connections, given with their tokens' issue times in seconds. Registers first and reads revocations after: a revocation
    /// that is written in between finds the registration, or is found by it.
    pub async fn register(
        &self,
        gateway: &Gateway,
        connections: Vec<(Connection, i64)>,
    ) -> Result<Vec<Outcome>, PortError> {
        let (connections, issued): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
        let devices: Vec<DeviceKey> = connections.iter().map(|it| it.device.clone()).collect();
        let ids: Vec<u64> = connections.iter().map(|it| it.connection_id).collect();
        let registered = self
            .presence
            .register(gateway, connections, self.max_devices, self.lease_end_ms())
            .await?;
        self.lease_added.notify_one();
        let not_before = self.revocations.not_before(&devices).await?;

        let mut outcomes = Vec::with_capacity(devices.len());
        let mut dead = Vec::new();
        let mut displaced = Vec::new();
        for (index, registered) in registered.into_iter().enumerate() {
            let revoked = is_dead(
                issued.get(index).copied().unwrap_or_default(),
                not_before.get(index).copied().unwrap_or_default(),
            );
            if let Registered::Stands {
                displaced: Some(other),
            } = &registered
            {
                displaced.push(other.clone());
            }
            outcomes.push(match registered {
                Registered::TooManyDevices => Outcome::TooManyDevices {
                    limit: self.max_devices,
                },
                Registered::Outdated => Outcome::Outdated,
                Registered::Stands { .. } if revoked => {
                    dead.extend(devices.get(index).cloned().zip(ids.get(index).copied()));
                    Outcome::Revoked
                }
                Registered::Stands { .. } => Outcome::Stands,
            });
        }
        if !dead.is_empty() {
            self.presence
                .unregister(&gateway.incarnation, &dead)
                .await?;
        }
        close_all(
            &*self.gateways,
            displaced,
            CloseReason::Replaced,
            "the device connected elsewhere",
        )
        .await;
        Ok(outcomes)
    }

    /// Removes connections that stand.
    pub async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<(), PortError> {
        for user in self.presence.unregister(incarnation, connections).await? {
            self.last_seen.note(&user, self.clock.now_ms()).await;
        }
        Ok(())
    }

    /// Ends leases in time; runs for ever. While there is no lease there is no timer.
    pub async fn reap(&self) {
        loop {
            match self.presence.next_expiry_ms().await {
                Ok(Some(at_ms)) => {
                    let wait_ms = u64::try_from(at_ms - self.clock.now_ms())
                        .unwrap_or(0)
                        .max(1);
                    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
                    match self.presence.expire(self.clock.now_ms()).await {
                        Ok(gone) if !gone.is_empty() => {
                            tracing::warn!(connections = gone.len(), "a gateway's lease ended");
                            for device in gone {
                                self.last_seen
                                    .note(&device.whole_user(), self.clock.now_ms())
                                    .await;
                            }
                        }
                        Ok(_) => {}
                        Err(error) => tracing::warn!(%error, "leases were not ended; trying again"),
                    }
                }
                Ok(None) => self.lease_added.notified().await,
                Err(error) => {
                    tracing::warn!(%error, "leases are not known; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(self.lease_ms)))
                        .await;
                }
            }
        }
    }

    fn lease_end_ms(&self) -> i64 {
        self.clock.now_ms() + i64::from(self.lease_ms)
    }
}

/// Closes connections, each gateway's in one call. A gateway that does not answer is logged: its lease or its clients' next
/// registration settles it.
pub async fn close_all(
    gateways: &dyn Gateways,
    connections: Vec<Located>,
    reason: CloseReason,
    message: &str,
) -> u32 {
    let mut by_gateway: HashMap<Gateway, Vec<u64>> = HashMap::new();
    for connection in connections {
        by_gateway
            .entry(connection.gateway)
            .or_default()
            .push(connection.connection_id);
    }
    let closing = by_gateway.into_iter().map(|(gateway, ids)| async move {
        match gateways.close(&gateway, ids, reason, message).await {
            Ok(closed) => closed,
            Err(error) => {
                tracing::warn!(%error, gateway = %gateway.incarnation, "connections were not closed");
                0
            }
        }
    });
    futures::future::join_all(closing).await.into_iter().sum()
}
