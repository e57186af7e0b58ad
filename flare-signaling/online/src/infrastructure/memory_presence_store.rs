//! Presence in this process's memory.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::clock::IdSource;
use tokio::time::Instant;

use crate::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Lease, Located, PresenceTable, Registered},
        revocation::DeviceKey,
    },
};

/// One table behind a lock that is never held across an await.
#[derive(Debug)]
pub struct MemoryPresenceStore {
    table: Mutex<PresenceTable>,
    /// Lease ids are random, so that a store of before a restart had others.
    ids: Arc<IdSource>,
    /// Leases are timed from here.
    start: Instant,
}

impl MemoryPresenceStore {
    /// Holds nothing yet.
    pub fn new(ids: Arc<IdSource>) -> Self {
        Self {
            table: Mutex::default(),
            ids,
            start: Instant::now(),
        }
    }

    fn lease(&self, lasts: Duration) -> Lease {
        Lease {
            id: self.ids.random_u64().max(1),
            until: self.start.elapsed() + lasts,
        }
    }

    fn table(&self) -> MutexGuard<'_, PresenceTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PresenceStore for MemoryPresenceStore {
    async fn renew(&self, gateway: &Gateway, lease: Duration) -> Result<u64, PortError> {
        Ok(self.table().renew(gateway, self.lease(lease)))
    }

    async fn register(
        &self,
        gateway: &Gateway,
        connections: Vec<Connection>,
        max_devices: usize,
        lease: Duration,
    ) -> Result<Vec<Registered>, PortError> {
        let lease = self.lease(lease);
        let mut table = self.table();
        let outcomes = connections
            .into_iter()
            .map(|it| table.register(gateway, it, max_devices, lease))
            .collect();
        metrics::gauge!("flare_online_connections").set(table.len() as f64);
        Ok(outcomes)
    }

    async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<Vec<DeviceKey>, PortError> {
        let mut table = self.table();
        let gone = connections
            .iter()
            .filter(|(device, connection_id)| table.unregister(incarnation, device, *connection_id))
            .map(|(device, _)| device.whole_user())
            .collect();
        metrics::gauge!("flare_online_connections").set(table.len() as f64);
        Ok(gone)
    }

    async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        let table = self.table();
        Ok(users
            .iter()
            .map(|(tenant, user)| table.connections(tenant, user))
            .collect())
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, PortError> {
        Ok(self.table().gateways())
    }

    async fn lease(&self, incarnation: &str) -> Result<Option<u64>, PortError> {
        Ok(self.table().lease(incarnation))
    }

    async fn expire(&self) -> Result<Vec<DeviceKey>, PortError> {
        let mut table = self.table();
        let gone = table.expire(self.start.elapsed());
        metrics::gauge!("flare_online_connections").set(table.len() as f64);
        Ok(gone)
    }

    async fn next_expiry(&self) -> Result<Option<Duration>, PortError> {
        let at = self.table().next_expiry();
        Ok(at.map(|at| at.saturating_sub(self.start.elapsed())))
    }
}
