//! What presence is told of connections, and how it gets again what it has lost.

use std::sync::atomic::Ordering;

use flare_core::codec::{Codec, ServerFrame};
use flare_proto::client::CloseReason;

use crate::{
    harness::{Client, Gateway},
    services::until,
};

/// What came while presence did not know a connection went to nobody: it has to ask.
async fn told_to_sync(client: &mut Client) {
    match client.frame().await {
        ServerFrame::SyncHint(hint) => assert!(hint.conversation_ids.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_presence_that_has_forgotten_gets_every_connection_again() {
    let gateway = Gateway::start().await;
    let online = &gateway.world.online;
    let mut stays = gateway.client(Codec::Proto, "alice", "phone").await;
    let mut dead = gateway.client(Codec::Proto, "bob", "phone").await;
    online
        .revoked_up_to_s
        .lock()
        .expect("locks")
        .insert("bob".to_owned(), 1_000);
    online.forget();
    dead.closed_for(CloseReason::Unauthenticated).await;
    until("registered again", || {
        online.standing() == [stays.connection_id]
    })
    .await;
    told_to_sync(&mut stays).await;
}

#[tokio::test]
async fn who_connects_after_presence_has_forgotten_hides_nobody_from_it() {
    let gateway = Gateway::start().await;
    let online = &gateway.world.online;
    let mut first = gateway.client(Codec::Proto, "alice", "phone").await;
    online
        .forgets_before_registering
        .store(true, Ordering::SeqCst);
    let second = gateway.client(Codec::Proto, "bob", "phone").await;
    until("both are known", || {
        online.standing() == [first.connection_id, second.connection_id]
    })
    .await;
    told_to_sync(&mut first).await;
}

#[tokio::test]
async fn a_renewal_whose_answer_is_lost_hides_nothing() {
    let gateway = Gateway::start().await;
    let online = &gateway.world.online;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    online.loses_renewal.store(true, Ordering::SeqCst);
    online.forget();
    until("known again", || {
        online.standing() == [client.connection_id]
    })
    .await;
    told_to_sync(&mut client).await;
}
