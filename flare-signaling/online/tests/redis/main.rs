//! Presence in Redis keeps its port's contract against a real server, also when that loses what it held.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../stores/presence_contract.rs"]
mod contract;
mod losses;
mod server;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use contract::{OBLIGATIONS, PresenceSite, connection, gateway, phone};
use flare_server_core::{clock::IdSource, redis::Redis};
use flare_signaling_online::{
    application::ports::{LastSeenStore, PresenceStore},
    domain::{
        presence::{Connection, Registered},
        revocation::DeviceKey,
    },
    infrastructure::{
        redis_last_seen_store::RedisLastSeenStore, redis_presence_store::RedisPresenceStore,
    },
};
use server::{Own, config, shared};

const LEASE: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(60);

fn open(config: &flare_server_core::redis::RedisConfig) -> Redis {
    Redis::open(config, Arc::new(IdSource::from_os())).unwrap()
}

/// An installation of its own in the tests' server.
struct RedisSite(flare_server_core::redis::RedisConfig);

impl Default for RedisSite {
    fn default() -> Self {
        Self(config(&shared()))
    }
}

impl RedisSite {
    fn store(&self) -> RedisPresenceStore {
        RedisPresenceStore::new(open(&self.0))
    }

    async fn keys(&self) -> Vec<String> {
        let redis = open(&self.0);
        let mut keys = redis::cmd("KEYS");
        keys.arg(redis.key("*"));
        redis.command(&keys).await.unwrap()
    }
}

#[async_trait]
impl PresenceSite for RedisSite {
    async fn open(&self) -> Arc<dyn PresenceStore> {
        Arc::new(self.store())
    }

    async fn open_after_loss(&self) -> Arc<dyn PresenceStore> {
        let mut forget = redis::cmd("DEL");
        forget.arg(self.keys().await);
        let () = open(&self.0).command(&forget).await.unwrap();
        self.open().await
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    async fn pass(&self, by: Duration) {
        let redis = open(&self.0);
        let now = async || {
            let time: (u64, u64) = redis.command(&redis::cmd("TIME")).await.unwrap();
            Duration::from_secs(time.0) + Duration::from_micros(time.1)
        };
        let until = now().await + by;
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while now().await < until {
            looks.tick().await;
        }
    }
}

#[tokio::test]
async fn redis_keeps_every_obligation() {
    for (name, check) in OBLIGATIONS {
        let site = Arc::new(RedisSite::default());
        assert_eq!(check(site).await, Ok(()), "{name}");
    }
}

fn user(name: &str) -> (String, String) {
    ("t".to_owned(), name.to_owned())
}

fn of(name: &str, connection_id: u64) -> Connection {
    let device = DeviceKey {
        user: name.to_owned(),
        ..phone("t")
    };
    connection(device, connection_id)
}

fn stands(outcome: &Registered) -> bool {
    matches!(outcome, Registered::Stands { displaced: None })
}

#[tokio::test]
async fn two_services_see_the_same() {
    let site = RedisSite::default();
    let (one, other) = (site.store(), site.store());
    let lease = one.renew(&gateway("a"), LONG).await.unwrap();
    assert_eq!(other.renew(&gateway("a"), LONG).await.unwrap(), lease);
    one.register(&gateway("a"), vec![of("alice", 1)], 5, LONG)
        .await
        .unwrap();
    let outcomes = other
        .register(&gateway("b"), vec![of("alice", 1)], 5, LONG)
        .await
        .unwrap();
    let [
        Registered::Stands {
            displaced: Some(displaced),
        },
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(displaced.gateway, gateway("a"));
    let found = one.lookup(&[user("alice")]).await.unwrap();
    assert_eq!(found[0][0].gateway, gateway("b"));
}

#[tokio::test]
async fn what_a_dead_gateway_held_is_told_once_and_all_of_it() {
    let site = RedisSite::default();
    let (one, other) = (site.store(), site.store());
    let connections: Vec<_> = (0..1_200).map(|it| of(&format!("u{it}"), it)).collect();
    let outcomes = one
        .register(&gateway("a"), connections, 5, LEASE)
        .await
        .unwrap();
    assert!(outcomes.iter().all(stands));
    one.register(&gateway("b"), vec![of("u0", 1)], 5, LONG)
        .await
        .unwrap();
    site.pass(LEASE).await;
    assert_eq!(one.next_expiry().await.unwrap(), Some(Duration::ZERO));
    let found = one.lookup(&[user("u0"), user("u1")]).await.unwrap();
    let at: Vec<_> = found.iter().map(Vec::len).collect();
    assert_eq!(at, [1, 0], "gone before anybody has expired it");
    let (some, rest) = tokio::join!(one.expire(), other.expire());
    let mut gone: Vec<_> = [some.unwrap(), rest.unwrap()]
        .concat()
        .into_iter()
        .map(|it| it.user)
        .collect();
    gone.sort_unstable();
    let before = gone.len();
    gone.dedup();
    assert_eq!((before, gone.len()), (1_199, 1_199));
    assert!(one.next_expiry().await.unwrap() > Some(Duration::ZERO));
}

#[tokio::test]
async fn whoever_is_left_is_told_by_connections_that_stand() {
    let site = RedisSite::default();
    let store = site.store();
    let tablet = DeviceKey {
        device: "tablet".to_owned(),
        ..phone("t")
    };
    store
        .register(
            &gateway("a"),
            vec![connection(tablet, 1)],
            5,
            Duration::from_millis(1),
        )
        .await
        .unwrap();
    store
        .register(&gateway("b"), vec![of("alice", 1)], 5, LONG)
        .await
        .unwrap();
    site.pass(Duration::from_millis(20)).await;
    let gone = store.unregister("b", &[(phone("t"), 1)]).await.unwrap();
    assert_eq!(gone, [phone("t").whole_user()]);
}

#[tokio::test]
async fn nothing_stays_for_ever() {
    let site = RedisSite::default();
    let store = site.store();
    store
        .register(&gateway("a"), vec![of("alice", 1)], 5, LONG)
        .await
        .unwrap();
    let redis = open(&site.0);
    RedisLastSeenStore::new(redis.clone())
        .note(&[user("bob")], 1)
        .await
        .unwrap();
    let keys = site.keys().await;
    assert_eq!(keys.len(), 6, "{keys:?}");
    for key in keys {
        let left: i64 = redis.command(redis::cmd("TTL").arg(&key)).await.unwrap();
        // Of which there is one an installation.
        let is_single = key.ends_with(":epoch") || key.ends_with(":leases");
        assert_eq!(left > 0, !is_single, "{key}: {left}");
    }
}

#[tokio::test]
async fn a_thousand_users_are_looked_up_in_one_round_trip() {
    let own = Own::start(None);
    let mut settings = config(&own.url());
    // Nobody else calls.
    settings.check_ms = 60_000;
    let mut beside = own.connection().await;
    let store = RedisPresenceStore::new(open(&settings));
    let connections: Vec<_> = (0..1_000).map(|it| of(&format!("u{it}"), it)).collect();
    store
        .register(&gateway("a"), connections, 5, LONG)
        .await
        .unwrap();
    let users: Vec<_> = (0..1_000).map(|it| user(&format!("u{it}"))).collect();
    let found = store.lookup(&users).await.unwrap();
    let ids: Vec<_> = found.iter().map(|it| it[0].connection_id).collect();
    assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
    let mut calls = async || -> u64 {
        let mut info = redis::cmd("INFO");
        info.arg("commandstats");
        let info: String = info.query_async(&mut beside).await.unwrap();
        let of = |line: &str| {
            let calls = line.strip_prefix("cmdstat_evalsha:calls=")?;
            calls.split(',').next()?.parse().ok()
        };
        info.lines().find_map(of).unwrap()
    };
    let before = calls().await;
    store.lookup(&users).await.unwrap();
    assert_eq!(calls().await - before, 1);
}

#[tokio::test]
async fn last_seen_is_the_same_for_all_services_and_each_tenants_own() {
    let site = RedisSite::default();
    let one = RedisLastSeenStore::new(open(&site.0));
    let other = RedisLastSeenStore::new(open(&site.0));
    one.note(&[user("alice"), user("bob")], 7).await.unwrap();
    other.note(&[user("bob")], 9).await.unwrap();
    let elsewhere = ("u".to_owned(), "alice".to_owned());
    let asked = [user("alice"), elsewhere, user("bob"), user("carol")];
    assert_eq!(one.of(&asked).await.unwrap(), [7, 0, 9, 0]);
}
