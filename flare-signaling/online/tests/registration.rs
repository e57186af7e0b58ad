//! Registration against revocation, on the embedded stores.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use flare_server_core::clock::ManualClock;
use flare_signaling_online::{
    application::{
        ports::{CloseReason, Gateways, PortError, PresenceStore, RevocationStore},
        queries::{LastSeen, Queries},
        registration::{Outcome, Registration},
        sign_out::SignOut,
    },
    domain::{
        presence::{Connection, Gateway},
        revocation::DeviceKey,
    },
    infrastructure::{
        memory_presence_store::MemoryPresenceStore, sqlite_revocation_store::SqliteRevocationStore,
    },
};
use tokio::sync::Notify;

const NOW_MS: i64 = 1_700_000_000_500;
const NOW_S: i64 = 1_700_000_000;

type Closed = (String, Vec<u64>, CloseReason);

#[derive(Default)]
struct Recorder(Mutex<Vec<Closed>>);

#[async_trait]
impl Gateways for Recorder {
    async fn close(
        &self,
        gateway: &Gateway,
        connection_ids: Vec<u64>,
        reason: CloseReason,
        _message: &str,
    ) -> Result<u32, PortError> {
        let closed = u32::try_from(connection_ids.len()).unwrap();
        self.0
            .lock()
            .unwrap()
            .push((gateway.incarnation.clone(), connection_ids, reason));
        Ok(closed)
    }
}

struct Place {
    registration: Registration,
    sign_out: SignOut,
    queries: Queries,
    closed: Arc<Recorder>,
    clock: Arc<ManualClock>,
}

async fn place(folder: &Path) -> Place {
    let presence: Arc<dyn PresenceStore> = Arc::new(MemoryPresenceStore::default());
    let revocations: Arc<dyn RevocationStore> = Arc::new(
        SqliteRevocationStore::open(&folder.join("online.sqlite"))
            .await
            .unwrap(),
    );
    let closed = Arc::new(Recorder::default());
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let last_seen = LastSeen::new(100);
    Place {
        registration: Registration {
            presence: presence.clone(),
            revocations: revocations.clone(),
            gateways: closed.clone(),
            clock: clock.clone(),
            last_seen: last_seen.clone(),
            lease_ms: 1_000,
            max_devices: 2,
            lease_added: Notify::new(),
        },
        sign_out: SignOut {
            presence: presence.clone(),
            revocations: revocations.clone(),
            gateways: closed.clone(),
            clock: clock.clone(),
        },
        queries: Queries {
            presence,
            revocations,
            last_seen,
            clock: clock.clone(),
        },
        closed,
        clock,
    }
}

fn gateway() -> Gateway {
    Gateway {
        incarnation: "g1".to_owned(),
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
        connected_ms: NOW_MS + i64::try_from(connection_id).unwrap(),
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_registers_nothing_and_a_later_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let revoked = place
        .sign_out
        .revoke(&device("alice", "phone"))
        .await
        .unwrap();
    assert_eq!((revoked.not_before_s, revoked.closed), (NOW_S, 0));
    let outcomes = place
        .registration
        .register(
            &gateway(),
            vec![
                (connection("alice", "phone", 1), NOW_S),
                (connection("alice", "desk", 2), NOW_S),
            ],
        )
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Revoked, Outcome::Stands]);
    let found = place
        .queries
        .lookup(&[("default".to_owned(), "alice".to_owned())])
        .await
        .unwrap();
    assert_eq!(
        found[0]
            .iter()
            .map(|it| it.device.as_str())
            .collect::<Vec<_>>(),
        ["desk"]
    );
    let later = place
        .registration
        .register(
            &gateway(),
            vec![(connection("alice", "phone", 3), NOW_S + 1)],
        )
        .await;
    assert_eq!(later.unwrap(), [Outcome::Stands]);
}

#[tokio::test]
async fn revoking_a_user_closes_all_his_connections_and_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let place = place(folder.path()).await;
        let both = vec![
            (connection("alice", "phone", 1), NOW_S),
            (connection("alice", "desk", 2), NOW_S),
        ];
        place.registration.register(&gateway(), both).await.unwrap();
        let revoked = place.sign_out.revoke(&device("alice", "")).await.unwrap();
        assert_eq!(revoked.closed, 2);
        assert_eq!(
            place.closed.0.lock().unwrap()[..],
            [("g1".to_owned(), vec![2, 1], CloseReason::Revoked)]
        );
    }
    let place = place(folder.path()).await;
    let not_before = place
        .queries
        .not_before(&[device("alice", "tablet"), device("bob", "phone")])
        .await
        .unwrap();
    assert_eq!(not_before, [NOW_S, 0]);
}

#[tokio::test]
async fn a_revocation_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .sign_out
        .revoke(&device("alice", "phone"))
        .await
        .unwrap();
    place.clock.set(NOW_MS - 60_000);
    assert_eq!(
        place
            .sign_out
            .revoke(&device("alice", "phone"))
            .await
            .unwrap()
            .not_before_s,
        NOW_S
    );
}

#[tokio::test]
async fn a_device_that_connects_again_displaces_its_earlier_connection() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registration
        .register(&gateway(), vec![(connection("alice", "phone", 1), NOW_S)])
        .await
        .unwrap();
    place
        .registration
        .register(&gateway(), vec![(connection("alice", "phone", 2), NOW_S)])
        .await
        .unwrap();
    assert_eq!(
        place.closed.0.lock().unwrap()[..],
        [("g1".to_owned(), vec![1], CloseReason::Replaced)]
    );
}

#[tokio::test]
async fn a_third_device_is_refused_where_two_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    let three = [("phone", 1), ("desk", 2), ("tablet", 3)]
        .map(|(name, id)| (connection("alice", name, id), NOW_S));
    let outcomes = place
        .registration
        .register(&gateway(), three.into())
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Stands,
            Outcome::Stands,
            Outcome::TooManyDevices { limit: 2 }
        ]
    );
}

#[tokio::test]
async fn a_kick_leaves_the_token_good() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registration
        .register(&gateway(), vec![(connection("alice", "phone", 1), NOW_S)])
        .await
        .unwrap();
    assert_eq!(
        place
            .sign_out
            .kick(&device("alice", "phone"), "enough")
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        place
            .queries
            .not_before(&[device("alice", "phone")])
            .await
            .unwrap(),
        [0]
    );
    assert_eq!(place.closed.0.lock().unwrap()[0].2, CloseReason::Kicked);
}

#[tokio::test]
async fn whoever_has_left_was_last_seen_then() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path()).await;
    place
        .registration
        .register(&gateway(), vec![(connection("alice", "phone", 1), NOW_S)])
        .await
        .unwrap();
    let online = place
        .queries
        .presence("default", vec!["alice".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        (online[0].connections.len(), online[0].last_seen_ms),
        (1, 0)
    );
    place
        .registration
        .unregister("g1", &[(device("alice", "phone"), 1)])
        .await
        .unwrap();
    let gone = place
        .queries
        .presence("default", vec!["alice".to_owned()])
        .await
        .unwrap();
    assert_eq!(
        (gone[0].connections.len(), gone[0].last_seen_ms),
        (0, NOW_MS)
    );
}
