//! The service on its embedded stores.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod closing;
mod leases;
mod registration;
mod requests;
mod revoked_ahead;
mod revoked_meanwhile;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::clock::{IdSource, ManualClock};
use flare_signaling_online::{
    application::{
        closing::Closing,
        ports::{CloseReason, Gateways, PortError, PresenceStore, RevocationStore},
        queries::Queries,
        registration::{Outcome, Registration},
        sign_out::SignOut,
        tokens::Tokens,
    },
    domain::{
        presence::{Connection, Gateway, Located},
        revocation::DeviceKey,
    },
    handler::grpc::Grpc,
    infrastructure::{
        memory_last_seen_store::MemoryLastSeenStore, memory_presence_store::MemoryPresenceStore,
        sqlite_revocation_store::SqliteRevocationStore,
    },
};
use tokio::sync::{Notify, watch};

const NOW_MS: i64 = 1_700_000_000_500;
const NOW_S: i64 = 1_700_000_000;
const LEASE_MS: u32 = 1_000;

type Closed = (String, Vec<u64>, CloseReason);

/// A gateway that keeps what it was told to close.
#[derive(Default)]
struct Recorder {
    closed: watch::Sender<Vec<Closed>>,
    /// It does not answer.
    hangs: AtomicBool,
    /// It is asked so many times more before it answers.
    gives_up: AtomicU32,
    asked: AtomicU32,
}

impl Recorder {
    /// What was closed, once it is so many calls.
    async fn calls(&self, count: usize) -> Vec<Closed> {
        let mut closed = self.closed.subscribe();
        let wait = closed.wait_for(|it| it.len() >= count);
        let closed = tokio::time::timeout(Duration::from_secs(10), wait).await;
        closed.expect("closed in time").unwrap().clone()
    }
}

#[async_trait]
impl Gateways for Recorder {
    async fn close(
        &self,
        gateway: &Gateway,
        connection_ids: Vec<u64>,
        reason: CloseReason,
        _message: &str,
    ) -> Result<u32, PortError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let left = self
            .gives_up
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        if left.is_ok() {
            return Err(PortError {
                what: "access gateway",
                why: "no answer".to_owned(),
            });
        }
        let closed = u32::try_from(connection_ids.len()).unwrap();
        self.closed
            .send_modify(|it| it.push((gateway.incarnation.clone(), connection_ids, reason)));
        Ok(closed)
    }
}

/// What happens to the revocations between one read and the next.
enum Meanwhile {
    /// A device's tokens, up to now, are made dead.
    Revoked(DeviceKey),
    /// The store breaks.
    Broken,
    /// The store does not answer for a while.
    Held,
}

/// The revocations, with what is to happen after the next read.
struct Revocations {
    inner: SqliteRevocationStore,
    after_next_read: Mutex<Option<Meanwhile>>,
    broken: AtomicBool,
    /// Reads wait while this is true.
    held: watch::Sender<bool>,
}

#[async_trait]
impl RevocationStore for Revocations {
    async fn revoke(&self, device: &DeviceKey, now_s: i64) -> Result<i64, PortError> {
        self.inner.revoke(device, now_s).await
    }

    async fn note_issued(&self, tokens: &[(DeviceKey, i64)], now_s: i64) -> Result<(), PortError> {
        self.inner.note_issued(tokens, now_s).await
    }

    async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(PortError {
                what: "revocation store",
                why: "broken".to_owned(),
            });
        }
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        let read = self.inner.not_before(devices).await?;
        let meanwhile = self.after_next_read.lock().unwrap().take();
        match meanwhile {
            Some(Meanwhile::Revoked(device)) => {
                self.inner.revoke(&device, NOW_S).await?;
            }
            Some(Meanwhile::Broken) => self.broken.store(true, Ordering::SeqCst),
            Some(Meanwhile::Held) => {
                self.held.send_replace(true);
            }
            None => {}
        }
        Ok(read)
    }
}

struct Place {
    registration: Arc<Registration>,
    sign_out: SignOut,
    queries: Queries,
    tokens: Tokens,
    revocations: Arc<Revocations>,
    gateways: Arc<Recorder>,
    clock: Arc<ManualClock>,
}

async fn place(folder: &Path) -> Place {
    let ids = Arc::new(IdSource::seeded(1));
    place_with(folder, Arc::new(MemoryPresenceStore::new(ids))).await
}

async fn place_with(folder: &Path, presence: Arc<dyn PresenceStore>) -> Place {
    let revocations = Arc::new(Revocations {
        inner: SqliteRevocationStore::open(folder).await.unwrap(),
        after_next_read: Mutex::default(),
        broken: AtomicBool::default(),
        held: watch::Sender::default(),
    });
    let gateways = Arc::new(Recorder::default());
    let closing = Closing::new(presence.clone(), gateways.clone());
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let last_seen = Arc::new(MemoryLastSeenStore::new(100));
    let tokens = Tokens {
        revocations: revocations.clone(),
        clock: clock.clone(),
    };
    Place {
        registration: Arc::new(Registration {
            presence: presence.clone(),
            tokens: tokens.clone(),
            closing: closing.clone(),
            clock: clock.clone(),
            last_seen: last_seen.clone(),
            lease_ms: LEASE_MS,
            max_devices: 2,
            lease_added: Notify::new(),
        }),
        sign_out: SignOut {
            presence: presence.clone(),
            revocations: revocations.clone(),
            closing,
            clock: clock.clone(),
        },
        queries: Queries {
            presence,
            last_seen,
        },
        tokens,
        revocations,
        gateways,
        clock,
    }
}

impl Place {
    /// Its gRPC side.
    fn service(self) -> Grpc {
        Grpc {
            registration: self.registration,
            sign_out: self.sign_out,
            queries: self.queries,
            tokens: self.tokens,
        }
    }

    /// What became of a connection that gateway g1 registers, with a token of this time.
    async fn registers(&self, connection: Connection, issued_s: i64) -> Outcome {
        self.registers_at(&gateway(), connection, issued_s).await
    }

    async fn registers_at(&self, at: &Gateway, it: Connection, issued_s: i64) -> Outcome {
        let outcomes = self.registration.register(at, vec![(it, issued_s)]).await;
        outcomes.unwrap().remove(0)
    }

    /// The connections of a user of the default tenant.
    async fn connections(&self, user: &str) -> Vec<Located> {
        let users = [("default".to_owned(), user.to_owned())];
        let found = self.queries.lookup(&users).await.unwrap();
        found.into_iter().flatten().collect()
    }

    /// The ids of Alice's connections.
    async fn standing(&self) -> Vec<u64> {
        let connections = self.connections("alice").await;
        connections.iter().map(|it| it.connection_id).collect()
    }
}

fn gateway() -> Gateway {
    gateway_of("g1")
}

fn gateway_of(incarnation: &str) -> Gateway {
    Gateway {
        incarnation: incarnation.to_owned(),
        endpoint: String::new(),
    }
}

fn device(user: &str, device: &str) -> DeviceKey {
    DeviceKey {
        tenant: "default".to_owned(),
        user: user.to_owned(),
        device: device.to_owned(),
    }
}

fn connection(user: &str, name: &str, connection_id: u64) -> Connection {
    Connection {
        device: device(user, name),
        platform: "test".to_owned(),
        connection_id,
        connected_ms: NOW_MS,
        again: false,
    }
}
