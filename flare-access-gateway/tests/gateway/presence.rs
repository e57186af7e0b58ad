//! What presence is told of connections, and how it gets again what it has lost.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use flare_access_gateway::{
    application::ports::{Lease, Presence, Registration},
    infrastructure::grpc_presence::GrpcPresence,
};
use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    client::{CloseReason, Refresh},
    common::ErrorCode,
};
use flare_server_core::error::Refusal;
use tokio::sync::watch;

use crate::{
    harness::{Client, Gateway, token},
    services::until,
    table::Table,
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

#[tokio::test]
async fn what_has_left_the_table_is_not_registered_any_more() {
    let gateway = Gateway::start().await;
    let presence = GrpcPresence::new(&gateway.platform.channels, "another", "");
    let table = Table::with_one_connection(Arc::new(presence));
    let Table {
        connections,
        connection,
        registrar,
        ..
    } = &table;
    let registered = registrar.register(table.registration.clone()).await;
    registered.expect("registered");
    let online = &gateway.world.online;
    assert_eq!(online.standing(), [connection.id]);
    connections.remove(connection);
    registrar.unregister(connection.registration()).await;
    // As by a Refresh whose token took long to be judged.
    let refreshed = registrar.register(connection.registration()).await;
    assert!(refreshed.is_err(), "{refreshed:?}");
    table.ends().await;
    assert_eq!(online.standing(), [0; 0]);
}

/// A presence that cannot be reached when it is first called.
#[derive(Default)]
struct Late {
    calls: watch::Sender<Vec<&'static str>>,
}

#[async_trait]
impl Presence for Late {
    async fn renew(&self, lease_id: u64) -> Result<Lease, Refusal> {
        let is_early = self.calls.borrow().is_empty();
        self.calls.send_modify(|calls| calls.push("renew"));
        if is_early {
            return Err(Refusal::unavailable("not there yet", Duration::ZERO));
        }
        Ok(Lease {
            id: 1,
            known: lease_id == 1,
            lasts: Duration::from_secs(30),
        })
    }

    async fn register(&self, some: &[Registration]) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        self.calls.send_modify(|calls| calls.push("register"));
        Ok(some.iter().map(|_| Ok(())).collect())
    }

    async fn unregister(&self, _: &[Registration]) -> Result<(), Refusal> {
        Ok(())
    }
}

#[tokio::test]
async fn who_comes_before_the_first_lease_is_registered_under_it_and_not_again() {
    let presence = Arc::new(Late::default());
    let table = Table::with_one_connection(presence.clone());
    let mut calls = presence.calls.subscribe();
    let called = calls.wait_for(|calls| !calls.is_empty()).await;
    drop(called.expect("it is called"));
    let registered = table.registrar.register(table.registration.clone()).await;
    registered.expect("registered");
    assert_eq!(*calls.borrow(), ["renew", "renew", "register"]);
    table.ends().await;
}

/// Whether presence was told that a connection had stood before.
fn came_again(gateway: &Gateway, connection_id: u64) -> Option<bool> {
    let registered = gateway.world.online.registered.lock().expect("locks");
    registered.get(&connection_id).map(|it| it.again)
}

fn refresh(id: u32) -> ClientFrame {
    ClientFrame::Refresh(Refresh {
        id,
        token: token("alice", "*"),
    })
}

#[tokio::test]
async fn a_connection_is_registered_once_as_one_that_connects_and_then_again() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    assert_eq!(came_again(&gateway, client.connection_id), Some(false));
    client.send(refresh(2)).await;
    assert!(matches!(client.frame().await, ServerFrame::Reply(_)));
    assert_eq!(came_again(&gateway, client.connection_id), Some(true));
    let mut other = gateway.client(Codec::Proto, "bob", "phone").await;
    gateway.world.online.forget();
    told_to_sync(&mut other).await;
    assert_eq!(came_again(&gateway, other.connection_id), Some(true));
}

#[tokio::test]
async fn who_comes_again_and_is_connected_elsewhere_is_told_to_connect_again() {
    let gateway = Gateway::start().await;
    let online = &gateway.world.online;
    for by_refresh in [false, true] {
        let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
        let elsewhere = "alice".to_owned();
        online.elsewhere.lock().expect("locks").insert(elsewhere);
        if by_refresh {
            client.send(refresh(2)).await;
            assert_eq!(client.refusal().await.1, ErrorCode::Unavailable);
        } else {
            online.forget();
        }
        client.closed_for(CloseReason::GoingAway).await;
    }
    let connects = gateway.client(Codec::Proto, "alice", "phone").await;
    assert_eq!(came_again(&gateway, connects.connection_id), Some(false));
}
