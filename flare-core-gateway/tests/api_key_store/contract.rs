//! What a store of API keys owes: each obligation of the port is a test here, for every adapter.

use std::sync::Arc;

use flare_core_gateway::{
    application::ports::ApiKeyStore,
    domain::{
        api_key::{ApiKey, Secret, SecretDigest},
        scope::{Scope, Scopes},
    },
};
use ulid::Ulid;

use crate::place::Place;

async fn fresh() -> (Arc<dyn ApiKeyStore>, Place) {
    let place = Place::fresh().await;
    (place.open().await, place)
}

fn key(tenant: &str, id: u64) -> (ApiKey, SecretDigest) {
    let key = ApiKey {
        id: Ulid::from_parts(1_000 + id, 7),
        tenant: tenant.to_owned(),
        name: format!("key {id}"),
        scopes: [Scope::Send, Scope::Admin].into_iter().collect::<Scopes>(),
        created_ms: 1_000,
        revoked_ms: None,
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..8 + tenant.len()].copy_from_slice(tenant.as_bytes());
    (key, Secret::of(&bytes).digest())
}

/// More than any test adds.
const MOST: usize = 1_000;

async fn good(store: &dyn ApiKeyStore, tenant: &str) -> usize {
    let keys = store.list(tenant, None, MOST).await.expect("listed");
    keys.iter().filter(|it| it.revoked_ms.is_none()).count()
}

async fn added(store: &dyn ApiKeyStore, tenant: &str, id: u64) -> (ApiKey, SecretDigest) {
    let (key, digest) = key(tenant, id);
    assert!(store.add(&key, digest, MOST).await.expect("added"));
    (key, digest)
}

#[tokio::test]
async fn durable_what_is_kept_is_there_after_a_reopen() {
    let (store, place) = fresh().await;
    let (good, good_digest) = added(&*store, "default", 1).await;
    let (bad, bad_digest) = added(&*store, "default", 2).await;
    assert!(
        store
            .revoke("default", bad.id, 2_000)
            .await
            .expect("revoked")
    );
    drop(store);
    let store = place.open().await;
    assert_eq!(store.find(good_digest).await.expect("found"), Some(good));
    let revoked = store.find(bad_digest).await.expect("found").expect("a key");
    assert_eq!(revoked.revoked_ms, Some(2_000));
}

#[tokio::test]
async fn seen_at_once_in_another_process() {
    let (one, place) = fresh().await;
    let other = place.open().await;
    for id in 0..20 {
        let (key, digest) = added(&*one, "default", id).await;
        assert_eq!(other.find(digest).await.expect("found"), Some(key.clone()));
        assert!(other.revoke("default", key.id, 5).await.expect("revoked"));
        let seen = one
            .find(digest)
            .await
            .expect("found")
            .and_then(|it| it.revoked_ms);
        assert_eq!(seen, Some(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_open_and_write_together_wait_for_each_other() {
    let place = Place::fresh().await;
    let writers: Vec<_> = (0..6_u64)
        .map(|writer| {
            let place = place.clone();
            tokio::spawn(async move {
                let store = place.open().await;
                for id in 0..5 {
                    added(&*store, "default", writer * 100 + id).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert_eq!(good(&*place.open().await, "default").await, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_wanted_though_many_add_at_once() {
    const ALLOWED: usize = 7;
    let (store, place) = fresh().await;
    added(&*store, "other", 999).await;
    let writers: Vec<_> = (0..6_u64)
        .map(|writer| {
            let place = place.clone();
            tokio::spawn(async move {
                let store = place.open().await;
                let mut kept = 0;
                for id in 0..5 {
                    let (key, digest) = key("default", writer * 100 + id);
                    let added = store.add(&key, digest, ALLOWED).await.expect("answered");
                    kept += usize::from(added);
                }
                kept
            })
        })
        .collect();
    let mut kept = 0;
    for writer in writers {
        kept += writer.await.expect("no panic");
    }
    assert_eq!((kept, good(&*store, "default").await), (ALLOWED, ALLOWED));
}

#[tokio::test]
async fn one_key_a_secret() {
    let (store, _place) = fresh().await;
    let (first, digest) = added(&*store, "default", 1).await;
    let (second, _) = key("default", 2);
    assert!(store.add(&second, digest, MOST).await.is_err());
    assert_eq!(store.find(digest).await.expect("found"), Some(first));
    assert_eq!(
        store.find(SecretDigest([9; 32])).await.expect("looked up"),
        None
    );
}

#[tokio::test]
async fn only_worthless_once() {
    let (store, _place) = fresh().await;
    let (key, digest) = added(&*store, "default", 1).await;
    for now_ms in [2_000, 3_000] {
        assert!(
            store
                .revoke("default", key.id, now_ms)
                .await
                .expect("revoked")
        );
    }
    assert_eq!(
        store
            .find(digest)
            .await
            .expect("found")
            .and_then(|it| it.revoked_ms),
        Some(2_000)
    );
    assert!(
        !store
            .revoke("default", Ulid::from_parts(1, 1), 2_000)
            .await
            .expect("no such key")
    );
}

#[tokio::test]
async fn tenants_have_keys_of_their_own() {
    let (store, _place) = fresh().await;
    let (ours, _) = added(&*store, "ours", 1).await;
    let (theirs, digest) = added(&*store, "theirs", 2).await;
    assert!(
        !store
            .revoke("ours", theirs.id, 2_000)
            .await
            .expect("not ours")
    );
    assert_eq!(
        store
            .find(digest)
            .await
            .expect("found")
            .and_then(|it| it.revoked_ms),
        None
    );
    assert_eq!(store.list("ours", None, 10).await.expect("listed"), [ours]);
    assert_eq!(good(&*store, "ours").await, 1);
    assert!(
        store
            .revoke("theirs", theirs.id, 2_000)
            .await
            .expect("revoked")
    );
    assert_eq!(
        good(&*store, "theirs").await,
        0,
        "revoked ones are not good"
    );
    assert_eq!(
        store.list("theirs", None, 10).await.expect("listed").len(),
        1,
        "revoked ones are listed"
    );
}

#[tokio::test]
async fn whole_pages_though_keys_are_added_meanwhile() {
    let (store, _place) = fresh().await;
    for id in [5, 1, 3, 2, 4] {
        added(&*store, "default", id).await;
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.list("default", after, 2).await.expect("listed");
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|it| it.name.clone()));
        if seen.len() == 2 {
            added(&*store, "default", 6).await;
        }
    }
    assert_eq!(seen, ["key 1", "key 2", "key 3", "key 4", "key 5", "key 6"]);
}
