//! Presence in this process's memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Located, PresenceTable, Registered},
        revocation::DeviceKey,
    },
};

/// One table behind a lock that is never held across an await.
#[derive(Debug, Default)]
pub struct MemoryPresenceStore(Mutex<PresenceTable>);

impl MemoryPresenceStore {
    fn table(&self) -> MutexGuard<'_, PresenceTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PresenceStore for MemoryPresenceStore {
    async fn renew(&self, gateway: &Gateway, until_ms: i64) -> Result<bool, PortError> {
        Ok(self.table().renew(gateway, until_ms))
    }

    async fn register(
        &self,
        gateway: &Gateway,
        connections: Vec<Connection>,
        max_devices: usize,
        until_ms: i64,
    ) -> Result<Vec<Registered>, PortError> {
        let mut table = self.table();
        let outcomes = connections
            .into_iter()
            .map(|it| table.register(gateway, it, max_devices, until_ms))
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

    async fn expire(&self, now_ms: i64) -> Result<Vec<DeviceKey>, PortError> {
        let mut table = self.table();
        let gone = table.expire(now_ms);
        metrics::gauge!("flare_online_connections").set(table.len() as f64);
        Ok(gone)
    }

    async fn next_expiry_ms(&self) -> Result<Option<i64>, PortError> {
        Ok(self.table().next_expiry_ms())
    }
}
