//! Presence, played as the real one is: what it holds of the gateway stands on a lease, and is gone with it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use flare_proto::{common::ErrorCode, signaling};
use flare_server_core::error::Refusal;
use prost::Message;
use tokio::sync::watch;
use tonic::Status;

#[derive(Default)]
pub(crate) struct Online {
    pub(crate) registered: Mutex<HashMap<u64, signaling::Connection>>,
    pub(crate) gateway: Mutex<signaling::Gateway>,
    pub(crate) revoked_up_to_s: Mutex<HashMap<String, i64>>,
    pub(crate) is_away: AtomicBool,
    pub(crate) full: AtomicBool,
    pub(crate) registrations: AtomicUsize,
    /// Registrations stand, and their answers wait while this is true.
    pub(crate) holds_registrations: watch::Sender<bool>,
    /// Users whose device has a connection on another gateway, until it connects here.
    pub(crate) elsewhere: Mutex<HashSet<String>>,
    /// All is lost before the next registration.
    pub(crate) forgets_before_registering: AtomicBool,
    /// The next renewal's answer gets lost.
    pub(crate) loses_renewal: AtomicBool,
    /// 0: nothing is held.
    lease_id: AtomicU64,
    leases: AtomicU64,
}

impl Online {
    /// As after a restart.
    pub(crate) fn forget(&self) {
        let mut registered = self.registered.lock().expect("locks");
        self.lease_id.store(0, Ordering::SeqCst);
        registered.clear();
    }

    /// The ids of the connections that it knows, in their order.
    pub(crate) fn standing(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self
            .registered
            .lock()
            .expect("locks")
            .keys()
            .copied()
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The lease on which the gateway is held, from now on at the latest.
    fn hold(&self) -> u64 {
        if self.lease_id.load(Ordering::SeqCst) == 0 {
            let lease = self.leases.fetch_add(1, Ordering::SeqCst) + 1;
            self.lease_id.store(lease, Ordering::SeqCst);
        }
        self.lease_id.load(Ordering::SeqCst)
    }

    pub(crate) async fn answer(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("online is away"));
        }
        match method {
            "RenewLease" => {
                let request = signaling::RenewLeaseRequest::decode(request).expect("decodes");
                let lease_id = self.hold();
                if self.loses_renewal.swap(false, Ordering::SeqCst) {
                    return Err(Status::unavailable("the answer was lost"));
                }
                Ok(signaling::RenewLeaseResponse {
                    known: lease_id == request.lease_id,
                    lease_ms: 300,
                    lease_id,
                }
                .encode_to_vec()
                .into())
            }
            "RegisterBatch" => {
                if self
                    .forgets_before_registering
                    .swap(false, Ordering::SeqCst)
                {
                    self.forget();
                }
                let request = signaling::RegisterBatchRequest::decode(request).expect("decodes");
                *self.gateway.lock().expect("locks") = request.gateway.expect("named");
                self.hold();
                let outcomes = request
                    .connections
                    .into_iter()
                    .map(|it| self.register(it))
                    .collect();
                let mut held = self.holds_registrations.subscribe();
                let _ = held.wait_for(|held| !held).await;
                Ok(signaling::RegisterBatchResponse { outcomes }
                    .encode_to_vec()
                    .into())
            }
            "UnregisterBatch" => {
                let request = signaling::UnregisterBatchRequest::decode(request).expect("decodes");
                let mut registered = self.registered.lock().expect("locks");
                for connection in request.connections {
                    registered.remove(&connection.connection_id);
                }
                Ok(Bytes::new())
            }
            other => Err(Status::unimplemented(other.to_owned())),
        }
    }

    fn register(&self, connection: signaling::Connection) -> signaling::RegisterOutcome {
        self.registrations.fetch_add(1, Ordering::SeqCst);
        let revoked = self
            .revoked_up_to_s
            .lock()
            .expect("locks")
            .get(&connection.user_id)
            .copied();
        let mut elsewhere = self.elsewhere.lock().expect("locks");
        let refusal = if revoked.is_some_and(|at| connection.token_issued_s <= at) {
            Refusal::new(ErrorCode::TokenRevoked, "revoked")
        } else if self.full.load(Ordering::SeqCst) {
            Refusal::new(ErrorCode::LimitExceeded, "too many devices")
        } else if connection.again && elsewhere.contains(&connection.user_id) {
            Refusal::new(ErrorCode::Unavailable, "connect again")
        } else {
            elsewhere.remove(&connection.user_id);
            self.registered
                .lock()
                .expect("locks")
                .insert(connection.connection_id, connection);
            return signaling::RegisterOutcome { error: None };
        };
        signaling::RegisterOutcome {
            error: Some(refusal.into()),
        }
    }
}
