//! Kicks, bad bytes and the drain.

use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    access::CloseConnectionsRequest,
    client::{CloseReason, Ping},
    common::ErrorCode,
};
use tokio::time::timeout;

use crate::{
    harness::{Gateway, SOON},
    services::until,
};

#[tokio::test]
async fn another_service_closes_connections_with_its_reason() {
    let gateway = Gateway::start().await;
    for reason in [
        CloseReason::Kicked,
        CloseReason::Replaced,
        CloseReason::Unauthenticated,
    ] {
        let mut client = gateway.client(Codec::Json, "alice", "phone").await;
        let request = |incarnation: String| CloseConnectionsRequest {
            incarnation,
            connection_ids: vec![client.connection_id, 999],
            reason: reason.into(),
            message: "out".to_owned(),
            ..CloseConnectionsRequest::default()
        };
        let (elsewhere, here) = (
            request("another".to_owned()),
            request(gateway.incarnation()),
        );
        let mut inner = gateway.inner();
        assert_eq!(
            inner
                .close_connections(elsewhere)
                .await
                .expect("answers")
                .into_inner()
                .closed,
            0
        );
        assert_eq!(
            inner
                .close_connections(here)
                .await
                .expect("answers")
                .into_inner()
                .closed,
            1
        );
        client.closed_for(reason).await;
        gateway.until_gone(client.connection_id).await;
    }
    let nameless = CloseConnectionsRequest {
        incarnation: gateway.incarnation(),
        ..CloseConnectionsRequest::default()
    };
    assert!(gateway.inner().close_connections(nameless).await.is_err());
}

#[tokio::test]
async fn bytes_that_are_no_frame_close_the_connection_with_a_reason() {
    let gateway = Gateway::start().await;
    for (codec, bytes, code) in [
        (Codec::Proto, vec![0xff; 20], ErrorCode::MalformedFrame),
        (
            Codec::Proto,
            vec![0x1a, 0x05, 0x08],
            ErrorCode::MalformedFrame,
        ),
        (Codec::Proto, Vec::new(), ErrorCode::MalformedFrame),
        (Codec::Proto, vec![0; 262_145], ErrorCode::FrameTooLarge),
        (
            Codec::Json,
            b"{not json".to_vec(),
            ErrorCode::MalformedFrame,
        ),
        (Codec::Json, vec![b' '; 262_145], ErrorCode::FrameTooLarge),
    ] {
        for connects in [false, true] {
            let mut client = gateway.open(codec).await;
            if connects {
                client
                    .connect(&crate::harness::token("alice", "*"), "phone")
                    .await;
            }
            client.send_raw(&bytes).await;
            assert_eq!(client.refusal().await.1, code, "{codec:?} {connects}");
            client.closed_for(CloseReason::ProtocolError).await;
        }
    }
}

#[tokio::test]
async fn a_frame_that_is_well_formed_but_unknown_is_refused_and_the_connection_stays() {
    let gateway = Gateway::start().await;
    let mut json = gateway.client(Codec::Json, "alice", "phone").await;
    for (text, code, field) in [
        (r#"{"dance":{"id":4}}"#, ErrorCode::Unimplemented, ""),
        (
            r#"{"ping":{"id":4,"colour":"red"}}"#,
            ErrorCode::InvalidArgument,
            "colour",
        ),
        (r#"{"ping":{"id":"x"}}"#, ErrorCode::InvalidArgument, "id"),
        (r#"{"ping":{"id":0}}"#, ErrorCode::InvalidArgument, "id"),
    ] {
        json.send_raw(text.as_bytes()).await;
        let (_, given, named) = json.refusal().await;
        assert_eq!((given, &*named), (code, field), "{text}");
    }
    json.send(ClientFrame::Ping(Ping { id: 5 })).await;
    assert!(matches!(json.frame().await, ServerFrame::Pong(_)));
}

#[tokio::test]
async fn any_bytes_at_all_leave_the_gateway_standing() {
    let gateway = Gateway::start().await;
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..60 {
        let mut client = gateway
            .client(Codec::Proto, "alice", &format!("d{round}"))
            .await;
        for _ in 0..20 {
            // A known kind of frame with anything in it, more often than not.
            let kind = u8::try_from(random() % 10).expect("small");
            let body: Vec<u8> = (0..random() % 40)
                .map(|_| random().to_le_bytes()[0])
                .collect();
            let mut bytes = vec![kind << 3 | 2, u8::try_from(body.len()).expect("small")];
            bytes.extend(body);
            let payload = flare_core::codec::Payload {
                bytes: bytes.into(),
                text: false,
            };
            use flare_core::transport::TransportExt;
            if client.socket.send(payload).await.is_err() {
                break;
            }
        }
    }
    let mut client = gateway.client(Codec::Json, "alice", "phone").await;
    client.send(ClientFrame::Ping(Ping { id: 5 })).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong(_)));
}

#[tokio::test]
async fn a_drain_says_so_finishes_what_is_under_way_and_closes() {
    let mut gateway = Gateway::start().await;
    let orchestrator = std::sync::Arc::clone(&gateway.world.orchestrator);
    orchestrator.answers.send_replace(false);
    let mut idle = gateway.client(Codec::Json, "bob", "phone").await;
    let mut unconnected = gateway.open(Codec::Proto).await;
    let mut busy = gateway.client(Codec::Proto, "alice", "phone").await;
    busy.say(2, "room", "a1").await;
    until("submitted", || {
        orchestrator.seen.lock().expect("locks").len() == 1
    })
    .await;
    gateway.platform.shutdown.drain();
    let ServerFrame::Goaway(goaway) = idle.frame().await else {
        panic!("goaway")
    };
    assert!(goaway.reconnect_after_ms <= 5_000);
    idle.closed_for(CloseReason::GoingAway).await;
    unconnected.closed_for(CloseReason::GoingAway).await;
    assert!(matches!(busy.frame().await, ServerFrame::Goaway(_)));
    busy.say(3, "room", "a2").await;
    assert_eq!(
        busy.refusal().await,
        (3, ErrorCode::Unavailable, String::new())
    );
    orchestrator.answers.send_replace(true);
    assert!(matches!(busy.frame().await, ServerFrame::SendAck(ack) if ack.client_id == "a1"));
    busy.closed_for(CloseReason::GoingAway).await;
    assert!(
        timeout(SOON, gateway.open_from(Codec::Proto, None))
            .await
            .expect("in time")
            .is_err()
    );
    let ended = async { while gateway.tasks.join_next().await.is_some_and(|it| it.is_ok()) {} };
    timeout(SOON, ended).await.expect("every task ends");
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
async fn a_drain_does_not_wait_for_ever() {
    let mut gateway = Gateway::with(|config| config.drain_ms = 200).await;
    gateway.world.orchestrator.answers.send_replace(false);
    let mut busy = gateway.client(Codec::Proto, "alice", "phone").await;
    busy.say(2, "room", "a1").await;
    let seen = &gateway.world.orchestrator.seen;
    until("submitted", || seen.lock().expect("locks").len() == 1).await;
    gateway.platform.shutdown.drain();
    assert!(matches!(busy.frame().await, ServerFrame::Goaway(_)));
    busy.closed_for(CloseReason::GoingAway).await;
    let ended = async { while gateway.tasks.join_next().await.is_some_and(|it| it.is_ok()) {} };
    timeout(SOON, ended).await.expect("every task ends");
}
