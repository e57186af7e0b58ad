//! Redis is flushed, restarted, or fails over: gateways are told by their renewal, and all stands again when they have registered again.

use std::time::Duration;

use flare_signaling_online::{
    application::ports::{PortError, PresenceStore},
    infrastructure::redis_presence_store::RedisPresenceStore,
};

use super::{
    LONG, gateway, of, open,
    server::{Own, config},
    stands, user,
};

/// Until Redis answers again.
async fn renewed(store: &RedisPresenceStore) -> u64 {
    let renewing = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        loop {
            tries.tick().await;
            match store.renew(&gateway("a"), LONG).await {
                Ok(lease) => return lease,
                Err(PortError { what, .. }) => assert_eq!(what, "presence"),
            }
        }
    };
    let renewed = tokio::time::timeout(Duration::from_secs(15), renewing).await;
    renewed.expect("renewed in time")
}

async fn is_found(store: &RedisPresenceStore) -> bool {
    let found = store.lookup(&[user("alice")]).await.unwrap();
    !found[0].is_empty()
}

/// Alice is registered, on the lease that is returned.
async fn registered(store: &RedisPresenceStore) -> u64 {
    let lease = renewed(store).await;
    let connections = vec![of("alice", 1)];
    let outcomes = store.register(&gateway("a"), connections, 5, LONG).await;
    assert!(stands(&outcomes.unwrap()[0]));
    assert_eq!(renewed(store).await, lease, "it has lost nothing");
    assert!(is_found(store).await);
    lease
}

#[tokio::test]
async fn after_a_flush_a_renewal_says_so_and_all_is_registered_again() {
    let own = Own::start(None);
    let store = RedisPresenceStore::new(open(&config(&own.url())));
    let first = registered(&store).await;
    let mut beside = own.connection().await;
    redis::cmd("FLUSHALL")
        .exec_async(&mut beside)
        .await
        .unwrap();
    assert!(!is_found(&store).await);
    let second = renewed(&store).await;
    assert_ne!(second, first);
    assert!(!is_found(&store).await);
    assert_eq!(registered(&store).await, second);
}

#[tokio::test]
async fn after_a_flush_who_connects_first_hides_nobody() {
    let own = Own::start(None);
    let store = RedisPresenceStore::new(open(&config(&own.url())));
    let first = registered(&store).await;
    let mut beside = own.connection().await;
    redis::cmd("FLUSHALL")
        .exec_async(&mut beside)
        .await
        .unwrap();
    let connections = vec![of("bob", 2)];
    let outcomes = store.register(&gateway("a"), connections, 5, LONG).await;
    assert!(stands(&outcomes.unwrap()[0]));
    assert_ne!(renewed(&store).await, first);
}

#[tokio::test]
async fn after_a_restart_a_renewal_says_so_and_all_is_registered_again() {
    let own = Own::start(None);
    let settings = config(&own.url());
    let store = RedisPresenceStore::new(open(&settings));
    let first = registered(&store).await;
    let again = Own::start(Some(own.kill()));
    let second = renewed(&store).await;
    assert_ne!(second, first);
    registered(&store).await;
    drop(again);
}

#[tokio::test]
async fn after_a_fail_over_a_renewal_says_so_though_the_replica_has_the_lease() {
    let (primary, replica) = (Own::start(None), Own::start(None));
    let mut settings = config(&primary.url());
    let before = RedisPresenceStore::new(open(&settings));
    let mut beside = replica.connection().await;
    primary.connection().await;
    let mut follow = redis::cmd("REPLICAOF");
    follow.arg("127.0.0.1").arg(primary.at.port());
    follow.exec_async(&mut beside).await.unwrap();
    let first = registered(&before).await;
    settings.url = flare_server_core::config::Secret::new(replica.url());
    let after = RedisPresenceStore::new(open(&settings));
    let has_it = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while after.lease("a").await.ok().flatten() != Some(first) || !is_found(&after).await {
            looks.tick().await;
        }
    };
    let has_it = tokio::time::timeout(Duration::from_secs(15), has_it).await;
    has_it.expect("the replica has it");
    drop(primary);
    let mut promote = redis::cmd("REPLICAOF");
    promote.arg("NO").arg("ONE");
    promote.exec_async(&mut beside).await.unwrap();
    let second = renewed(&after).await;
    assert_ne!(second, first);
    assert!(!is_found(&after).await, "what the replica had may be old");
    assert_eq!(registered(&after).await, second);
}
