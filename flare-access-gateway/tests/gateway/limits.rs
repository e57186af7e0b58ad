//! Limits of what a connection sends.

use std::time::Duration;

use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    client::{CloseReason, Ping},
    common::ErrorCode,
};

use crate::{
    harness::Gateway,
    sending::{ack, refused},
    services::{code, until},
};

#[tokio::test]
async fn a_connection_with_64_unacked_commands_is_read_no_further() {
    let gateway = Gateway::start().await;
    let orchestrator = &gateway.world.orchestrator;
    orchestrator.answers.send_replace(false);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for id in 2..=65 {
        client.say(id, "room", &format!("a{id}")).await;
    }
    client.send(ClientFrame::Ping(Ping { id: 99 })).await;
    client.say(100, "room", "last").await;
    // Another connection is read meanwhile, which shows that there was time.
    let mut other = gateway.client(Codec::Proto, "bob", "phone").await;
    for id in 1..=20 {
        other.send(ClientFrame::Ping(Ping { id })).await;
        assert!(matches!(other.frame().await, ServerFrame::Pong(_)));
    }
    let unread = tokio::time::timeout(Duration::from_millis(100), client.frame()).await;
    assert!(unread.is_err(), "{unread:?}");
    orchestrator.answers.send_replace(true);
    let (mut acks, mut pongs) = (Vec::new(), 0);
    while acks.len() < 65 {
        match client.frame().await {
            ServerFrame::SendAck(ack) => acks.push(ack.seq),
            ServerFrame::Pong(_) => pongs += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(acks, (1..=65).collect::<Vec<_>>());
    assert_eq!(pongs, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_before_anything_is_promised() {
    let gateway = Gateway::with(|config| {
        config.command_queue = 1;
        config.max_commands_in_flight = 1;
        config.max_unacked_sends = 1_000;
    })
    .await;
    gateway.world.orchestrator.answers.send_replace(false);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for id in 2..=11 {
        client.say(id, &format!("room{id}"), "a").await;
    }
    let (_, code) = refused(&mut client).await;
    assert_eq!(code, ErrorCode::ResourceExhausted);
    gateway.world.orchestrator.answers.send_replace(true);
    let mut placed = 0;
    for _ in 0..9 {
        match client.frame().await {
            ServerFrame::SendAck(_) => placed += 1,
            ServerFrame::Error(error) => assert_eq!(
                crate::services::code(error.error.as_ref()),
                ErrorCode::ResourceExhausted
            ),
            other => panic!("{other:?}"),
        }
    }
    assert!(placed >= 1);
}

#[tokio::test]
async fn contents_without_a_receipt_are_bounded_together_and_give_their_room_back() {
    let gateway = Gateway::with(|config| {
        config.max_content_bytes = 1_024;
        config.max_command_bytes = 1_024;
    })
    .await;
    gateway.world.orchestrator.answers.send_replace(false);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    let long = "x".repeat(600);
    client.say_text(2, "one", "a", &long).await;
    client.say_text(3, "two", "b", &long).await;
    assert_eq!(
        refused(&mut client).await,
        ("b".to_owned(), ErrorCode::ResourceExhausted)
    );
    gateway.world.orchestrator.answers.send_replace(true);
    assert_eq!(ack(&mut client).await.client_id, "a");
    client.say_text(4, "two", "b", &long).await;
    assert_eq!(ack(&mut client).await.client_id, "b");
}

#[tokio::test]
async fn frames_above_the_rate_are_refused_and_then_the_connection_is_closed() {
    let gateway = Gateway::with(|config| {
        config.frames_per_s = 1;
        config.frame_burst = 2;
        config.max_excess_frames = 3;
    })
    .await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for (id, client_id) in [(2, "a1"), (3, "a2"), (4, "a3"), (5, "a4"), (6, "a5")] {
        client.say(id, "room", client_id).await;
    }
    let mut refusals = Vec::new();
    while refusals.len() < 3 {
        match client.frame().await {
            ServerFrame::SendAck(_) => {}
            ServerFrame::Error(error) => refusals.push(error),
            other => panic!("{other:?}"),
        }
    }
    let [first, rest @ ..] = &refusals[..] else {
        panic!("three")
    };
    let error = first.error.as_ref().expect("an error");
    assert_eq!(
        (&*first.client_id, error.code()),
        ("a3", ErrorCode::RateLimited)
    );
    assert!(error.retry_after_ms > 0);
    assert!(
        rest.iter()
            .all(|it| code(it.error.as_ref()) == ErrorCode::RetryInOrder)
    );
    client.say(7, "room", "a6").await;
    until("closed", || {
        gateway
            .world
            .online
            .registered
            .lock()
            .expect("locks")
            .is_empty()
    })
    .await;
    loop {
        match client.frame().await {
            ServerFrame::Kicked(kicked) => {
                assert_eq!(kicked.reason(), CloseReason::TooFast);
                break;
            }
            ServerFrame::SendAck(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
