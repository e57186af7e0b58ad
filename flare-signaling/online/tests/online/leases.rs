//! The reaper of leases.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flare_signaling_online::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Located, Registered},
        revocation::DeviceKey,
    },
};

use super::{LEASE_MS, NOW_MS, place_with};

/// A lease has ended, and the store cannot end it.
#[derive(Default)]
struct Stuck {
    attempts: AtomicU32,
}

#[async_trait]
impl PresenceStore for Stuck {
    async fn renew(&self, _: &Gateway, _: i64) -> Result<bool, PortError> {
        Ok(true)
    }

    async fn register(
        &self,
        _: &Gateway,
        _: Vec<Connection>,
        _: usize,
        _: i64,
    ) -> Result<Vec<Registered>, PortError> {
        Ok(Vec::new())
    }

    async fn unregister(
        &self,
        _: &str,
        _: &[(DeviceKey, u64)],
    ) -> Result<Vec<DeviceKey>, PortError> {
        Ok(Vec::new())
    }

    async fn lookup(&self, _: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        Ok(Vec::new())
    }

    async fn expire(&self, _: i64) -> Result<Vec<DeviceKey>, PortError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        Err(PortError {
            what: "presence",
            why: "stuck".to_owned(),
        })
    }

    async fn next_expiry_ms(&self) -> Result<Option<i64>, PortError> {
        Ok(Some(NOW_MS))
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_ended_is_tried_again_at_leisure() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Stuck::default());
    let place = place_with(folder.path(), store.clone()).await;
    tokio::time::pause();
    let leases = 10;
    let while_they_last = Duration::from_millis(u64::from(LEASE_MS * leases));
    let reaped = tokio::time::timeout(while_they_last, place.registration.reap()).await;
    assert!(reaped.is_err(), "it runs for ever");
    let attempts = store.attempts.load(Ordering::SeqCst);
    assert!((2..=leases + 1).contains(&attempts), "{attempts} attempts");
}
