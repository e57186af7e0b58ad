//! Leases, and their reaper.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flare_proto::signaling::{
    self, RenewLeaseRequest, RenewLeaseResponse, signaling_service_server::SignalingService,
};
use flare_signaling_online::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Located, Registered},
        revocation::DeviceKey,
    },
};
use tonic::Request;

use super::{LEASE_MS, NOW_S, connection, place, place_with};

/// A lease has ended, and the store cannot end it.
#[derive(Default)]
struct Stuck {
    attempts: AtomicU32,
}

#[async_trait]
impl PresenceStore for Stuck {
    async fn renew(&self, _: &Gateway, _: Duration) -> Result<u64, PortError> {
        Ok(1)
    }

    async fn register(
        &self,
        _: &Gateway,
        _: Vec<Connection>,
        _: usize,
        _: Duration,
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

    async fn gateways(&self) -> Result<Vec<Gateway>, PortError> {
        Ok(Vec::new())
    }

    async fn lease(&self, _: &str) -> Result<Option<u64>, PortError> {
        Ok(Some(1))
    }

    async fn expire(&self) -> Result<Vec<DeviceKey>, PortError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        Err(PortError {
            what: "presence",
            why: "stuck".to_owned(),
        })
    }

    async fn next_expiry(&self) -> Result<Option<Duration>, PortError> {
        Ok(Some(Duration::ZERO))
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

#[tokio::test]
async fn a_gateway_is_known_by_the_lease_that_it_names_alone() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    // It registers before it has renewed: presence has restarted.
    place
        .registers(connection("alice", "phone", 1), NOW_S)
        .await;
    let service = place.service();
    let renew = async |lease_id: u64| -> RenewLeaseResponse {
        let request = RenewLeaseRequest {
            context: None,
            gateway: Some(signaling::Gateway {
                incarnation: "g1".to_owned(),
                endpoint: String::new(),
            }),
            lease_id,
        };
        let answer = service.renew_lease(Request::new(request)).await;
        answer.unwrap().into_inner()
    };
    let of_before = 7;
    let first = renew(of_before).await;
    assert!(!first.known);
    assert!(!renew(of_before).await.known, "the answer was lost");
    assert!(!renew(0).await.known);
    assert!(renew(first.lease_id).await.known);
}
