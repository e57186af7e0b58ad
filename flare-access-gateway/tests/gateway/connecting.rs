//! Handshakes and Connects.

use std::sync::atomic::Ordering;

use flare_core::{
    codec::{ClientFrame, Codec, ServerFrame},
    transport::websocket::ConnectError,
};
use flare_proto::{
    client::{CloseReason, Connect, Ping, Refresh},
    common::ErrorCode,
};

use crate::harness::{Gateway, token};

#[tokio::test]
async fn a_client_connects_in_either_codec_and_presence_knows_it() {
    let gateway = Gateway::start().await;
    for (codec, device) in [(Codec::Proto, "phone"), (Codec::Json, "laptop")] {
        let mut client = gateway.open(codec).await;
        let connected = client.connect(&token("alice", "*"), device).await;
        assert_eq!(
            (
                &*connected.tenant_id,
                &*connected.user_id,
                &*connected.device_id,
                connected.heartbeat_ms
            ),
            ("default", "alice", device, 30_000)
        );
        assert_eq!(connected.limits.map(|it| it.max_unacked_sends), Some(64));
        let registered = gateway
            .world
            .online
            .registered
            .lock()
            .expect("locks")
            .get(&client.connection_id)
            .cloned();
        assert_eq!(
            registered.map(|it| (it.device_id, it.token_issued_s)),
            Some((device.to_owned(), 1_000))
        );
        client.send(ClientFrame::Ping(Ping { id: 7 })).await;
        assert!(matches!(client.frame().await, ServerFrame::Pong(pong) if pong.id == 7));
        let id = client.connection_id;
        drop(client);
        gateway.until_gone(id).await;
    }
}

#[tokio::test]
async fn nothing_but_a_connect_is_taken_first() {
    let gateway = Gateway::start().await;
    let mut client = gateway.open(Codec::Proto).await;
    client.send(ClientFrame::Ping(Ping { id: 3 })).await;
    assert_eq!(
        client.refusal().await,
        (3, ErrorCode::Unauthenticated, String::new())
    );
    client.closed_for(CloseReason::ProtocolError).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client
        .send(ClientFrame::Connect(Connect {
            id: 4,
            token: token("alice", "*"),
            device_id: "phone".to_owned(),
            ..Connect::default()
        }))
        .await;
    assert_eq!(client.refusal().await.1, ErrorCode::FailedPrecondition);
    client.closed_for(CloseReason::ProtocolError).await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_before_and_after_its_connect() {
    let gateway = Gateway::with(|config| {
        config.connect_ms = 200;
        config.min_heartbeat_ms = 100;
    })
    .await;
    gateway
        .open(Codec::Proto)
        .await
        .closed_for(CloseReason::ConnectTimeout)
        .await;
    let mut client = gateway.open(Codec::Json).await;
    let connect = Connect {
        id: 1,
        token: token("alice", "*"),
        device_id: "phone".to_owned(),
        heartbeat_ms: 100,
        ..Connect::default()
    };
    client.send(ClientFrame::Connect(connect)).await;
    assert!(matches!(client.frame().await, ServerFrame::Connected(it) if it.heartbeat_ms == 100));
    client.closed_for(CloseReason::Idle).await;
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_refused_with_its_reason() {
    let gateway = Gateway::start().await;
    gateway
        .world
        .online
        .revoked_up_to_s
        .lock()
        .expect("locks")
        .insert("mallory".to_owned(), 1_000);
    for (token, code, field) in [
        (String::new(), ErrorCode::Unauthenticated, "token"),
        ("rubbish".to_owned(), ErrorCode::Unauthenticated, "token"),
        (
            "default/alice/*/1000/2000".to_owned(),
            ErrorCode::TokenExpired,
            "token",
        ),
        (
            token("alice", "laptop"),
            ErrorCode::DeviceMismatch,
            "device_id",
        ),
        (token("mallory", "*"), ErrorCode::TokenRevoked, ""),
    ] {
        let mut client = gateway.open(Codec::Proto).await;
        client
            .send(ClientFrame::Connect(Connect {
                id: 9,
                token: token.clone(),
                device_id: "phone".to_owned(),
                ..Connect::default()
            }))
            .await;
        assert_eq!(
            client.refusal().await,
            (9, code, field.to_owned()),
            "{token}"
        );
        client.closed_for(CloseReason::Unauthenticated).await;
    }
    assert!(
        gateway
            .world
            .online
            .registered
            .lock()
            .expect("locks")
            .is_empty()
    );
}

#[tokio::test]
async fn a_user_with_too_many_devices_is_told_so() {
    let gateway = Gateway::start().await;
    gateway.world.online.full.store(true, Ordering::SeqCst);
    let mut client = gateway.open(Codec::Proto).await;
    client
        .send(ClientFrame::Connect(Connect {
            id: 2,
            token: token("alice", "*"),
            device_id: "phone".to_owned(),
            ..Connect::default()
        }))
        .await;
    assert_eq!(client.refusal().await.1, ErrorCode::LimitExceeded);
    client.closed_for(CloseReason::TooManyConnections).await;
}

#[tokio::test]
async fn without_presence_nobody_new_connects_and_the_connected_stay() {
    let gateway = Gateway::start().await;
    let mut first = gateway.client(Codec::Proto, "alice", "phone").await;
    gateway.world.online.is_away.store(true, Ordering::SeqCst);
    let mut second = gateway.open(Codec::Proto).await;
    second
        .send(ClientFrame::Connect(Connect {
            id: 5,
            token: token("bob", "*"),
            device_id: "phone".to_owned(),
            ..Connect::default()
        }))
        .await;
    assert_eq!(second.refusal().await.1, ErrorCode::Unavailable);
    second.closed_for(CloseReason::GoingAway).await;
    first.send(ClientFrame::Ping(Ping { id: 8 })).await;
    assert!(matches!(first.frame().await, ServerFrame::Pong(_)));
}

#[tokio::test]
async fn only_pages_of_listed_origins_connect() {
    let gateway = Gateway::with(|config| {
        config.allowed_origins = vec!["https://chat.example.com".to_owned()]
    })
    .await;
    assert!(
        gateway
            .open_from(Codec::Proto, Some("https://chat.example.com"))
            .await
            .is_ok()
    );
    let refused = gateway
        .open_from(Codec::Proto, Some("https://evil.example.com"))
        .await;
    assert!(matches!(
        refused,
        Err(ConnectError::Refused { status: 403, .. })
    ));
    assert!(gateway.open_from(Codec::Proto, None).await.is_ok());
}

#[tokio::test]
async fn connections_above_the_limits_are_refused_over_http() {
    for (total, of_address, status) in [(1, 9, 503), (9, 1, 429)] {
        let gateway = Gateway::with(|config| {
            config.max_connections = total;
            config.max_connections_per_ip = of_address;
        })
        .await;
        let first = gateway.client(Codec::Proto, "alice", "phone").await;
        match gateway.open_from(Codec::Proto, None).await {
            Err(ConnectError::Refused { status: given, .. }) => assert_eq!(given, status),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there was no seat"),
        }
        let id = first.connection_id;
        drop(first);
        gateway.until_gone(id).await;
        let again = async {
            while gateway.open_from(Codec::Proto, None).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::harness::SOON, again)
            .await
            .expect("the seat is free again");
    }
}

#[tokio::test]
async fn a_token_is_refreshed_by_another_of_the_same_user_and_device_alone() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Json, "alice", "phone").await;
    for (id, other, code) in [
        (
            2,
            "other/alice/*/1000/99999999999",
            ErrorCode::TenantMismatch,
        ),
        (
            3,
            "default/bob/*/1000/99999999999",
            ErrorCode::PermissionDenied,
        ),
        (
            4,
            "default/alice/laptop/1000/99999999999",
            ErrorCode::DeviceMismatch,
        ),
        (5, "default/alice/*/1000/1", ErrorCode::TokenExpired),
    ] {
        client
            .send(ClientFrame::Refresh(Refresh {
                id,
                token: other.to_owned(),
            }))
            .await;
        let (answered, given, _) = client.refusal().await;
        assert_eq!((answered, given), (id, code), "{other}");
    }
    client
        .send(ClientFrame::Refresh(Refresh {
            id: 6,
            token: "default/alice/phone/1500/99999999998".to_owned(),
        }))
        .await;
    let ServerFrame::Reply(reply) = client.frame().await else {
        panic!("a reply")
    };
    assert_eq!(reply.id, 6);
    let registered = gateway
        .world
        .online
        .registered
        .lock()
        .expect("locks")
        .get(&client.connection_id)
        .cloned();
    assert_eq!(registered.map(|it| it.token_issued_s), Some(1_500));
}

#[tokio::test]
async fn a_refresh_by_a_revoked_token_ends_the_connection() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    gateway
        .world
        .online
        .revoked_up_to_s
        .lock()
        .expect("locks")
        .insert("alice".to_owned(), 2_000);
    client
        .send(ClientFrame::Refresh(Refresh {
            id: 2,
            token: token("alice", "*"),
        }))
        .await;
    assert_eq!(client.refusal().await.1, ErrorCode::TokenRevoked);
    client.closed_for(CloseReason::Unauthenticated).await;
}

#[tokio::test]
async fn an_expired_connection_closes_unless_it_was_refreshed() {
    let gateway = Gateway::with(|config| config.token_grace_ms = 0).await;
    let soon = gateway.platform.clock.now_ms() / 1_000 + 2;
    let short = format!("default/alice/*/1000/{soon}");
    let mut closes = gateway.open(Codec::Proto).await;
    closes.connect(&short, "phone").await;
    let mut stays = gateway.open(Codec::Proto).await;
    stays.connect(&short, "laptop").await;
    stays
        .send(ClientFrame::Refresh(Refresh {
            id: 2,
            token: token("alice", "*"),
        }))
        .await;
    assert!(matches!(stays.frame().await, ServerFrame::Reply(_)));
    closes.closed_for(CloseReason::Unauthenticated).await;
    assert!(gateway.platform.clock.now_ms() >= soon * 1_000);
    stays.send(ClientFrame::Ping(Ping { id: 3 })).await;
    assert!(matches!(stays.frame().await, ServerFrame::Pong(_)));
}
