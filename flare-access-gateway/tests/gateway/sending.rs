//! Sends, their order and their receipts.

use std::sync::atomic::Ordering;

use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    client::{Operate, Ping, Recall, Send, SendAck, operate},
    common::ErrorCode,
    message::submit_item,
};

use crate::{
    harness::{Client, Gateway, text},
    services::code,
};

pub(crate) async fn ack(client: &mut Client) -> SendAck {
    match client.frame().await {
        ServerFrame::SendAck(ack) => ack,
        other => panic!("an ack, not {other:?}"),
    }
}

/// (client id, code) of a refused command.
pub(crate) async fn refused(client: &mut Client) -> (String, ErrorCode) {
    match client.frame().await {
        ServerFrame::Error(error) => {
            assert_eq!(error.trace_id.len(), 32);
            (error.client_id, code(error.error.as_ref()))
        }
        other => panic!("a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn a_send_is_acked_with_its_place_and_trace_in_either_codec() {
    let gateway = Gateway::start().await;
    let mut json = gateway.client(Codec::Json, "alice", "phone").await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let send = Send {
        trace_id: trace.to_owned(),
        ..text(2, "room", "a1")
    };
    let content = send.content.clone();
    json.send(ClientFrame::Send(send)).await;
    let placed = ack(&mut json).await;
    assert_eq!(
        (
            placed.id,
            &*placed.client_id,
            &*placed.conversation_id,
            placed.seq,
            &*placed.trace_id
        ),
        (2, "a1", "room", 1, trace)
    );

    let mut proto = gateway.client(Codec::Proto, "bob", "phone").await;
    let direct = Send {
        user_id: "alice".to_owned(),
        conversation_id: String::new(),
        ..text(3, "", "b1")
    };
    proto.send(ClientFrame::Send(direct)).await;
    assert_eq!(ack(&mut proto).await.trace_id.len(), 32);

    let seen = gateway
        .world
        .orchestrator
        .seen
        .lock()
        .expect("locks")
        .clone();
    let [(_, first), (_, second)] = &seen[..] else {
        panic!("two items")
    };
    assert_eq!(first.command, Some(submit_item::Command::Send(content)));
    let actor = first.actor.clone().expect("acts");
    assert_eq!(
        (&*first.tenant_id, &*actor.user_id, &*actor.device_id),
        ("default", "alice", "phone")
    );
    assert_eq!(first.trace_id.len(), 16);
    assert_eq!(
        (&*second.conversation_id, &*second.peer_user_id),
        ("", "alice")
    );
}

#[tokio::test]
async fn a_recall_is_an_operation_and_what_is_wrong_is_refused_at_the_edge() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    let operate = |id, seq| Operate {
        id,
        conversation_id: "room".to_owned(),
        client_id: format!("o{id}"),
        operation: Some(operate::Operation::Recall(Recall { seq })),
        ..Operate::default()
    };
    client.send(ClientFrame::Operate(operate(2, 5))).await;
    assert_eq!(ack(&mut client).await.client_id, "o2");
    client.send(ClientFrame::Operate(operate(3, 0))).await;
    assert_eq!(
        client.refusal().await,
        (3, ErrorCode::InvalidArgument, "recall.seq".to_owned())
    );
    client
        .send(ClientFrame::Send(Send {
            content: vec![0xff; 3].into(),
            ..text(4, "room", "a")
        }))
        .await;
    assert_eq!(
        client.refusal().await,
        (4, ErrorCode::InvalidArgument, "content".to_owned())
    );
    client
        .send(ClientFrame::Send(Send {
            content: vec![0; 65_537].into(),
            ..text(5, "room", "a")
        }))
        .await;
    assert_eq!(client.refusal().await.1, ErrorCode::ContentTooLarge);
    client.say(6, "../room", "a").await;
    assert_eq!(client.refusal().await.2, "conversation_id");
    assert_eq!(
        gateway.world.orchestrator.seen.lock().expect("locks").len(),
        1
    );
}

#[tokio::test]
async fn what_stands_behind_a_refused_message_waits_for_it() {
    let gateway = Gateway::start().await;
    let refuse = &gateway.world.orchestrator.refuse_once;
    refuse
        .lock()
        .expect("locks")
        .insert("a1".to_owned(), ErrorCode::Unavailable);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for (id, client_id) in [(2, "a1"), (3, "a2"), (4, "a3")] {
        client.say(id, "room", client_id).await;
    }
    client.say(5, "elsewhere", "b1").await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(match client.frame().await {
            ServerFrame::SendAck(ack) => (ack.client_id, None),
            ServerFrame::Error(error) => (error.client_id, Some(code(error.error.as_ref()))),
            other => panic!("{other:?}"),
        });
    }
    answers.sort();
    let in_order = Some(ErrorCode::RetryInOrder);
    let expected = [
        ("a1", Some(ErrorCode::Unavailable)),
        ("a2", in_order),
        ("a3", in_order),
        ("b1", None),
    ];
    assert_eq!(answers, expected.map(|(id, code)| (id.to_owned(), code)));

    client.say(6, "room", "a2").await;
    assert_eq!(
        refused(&mut client).await,
        ("a2".to_owned(), ErrorCode::RetryInOrder)
    );
    client.say(7, "room", "a1").await;
    assert_eq!(ack(&mut client).await.client_id, "a1");
    client
        .send(ClientFrame::Send(Send {
            abandons: "a2".to_owned(),
            ..text(8, "room", "a3")
        }))
        .await;
    assert_eq!(ack(&mut client).await.client_id, "a3");
    client.say(9, "room", "a4").await;
    assert_eq!(ack(&mut client).await.client_id, "a4");
    let order = gateway
        .world
        .orchestrator
        .order
        .lock()
        .expect("locks")
        .clone();
    assert_eq!(order, ["b1", "a1", "a3", "a4"]);
}

#[tokio::test]
async fn a_refusal_for_good_holds_nothing_up() {
    let gateway = Gateway::start().await;
    gateway
        .world
        .orchestrator
        .refuse_once
        .lock()
        .expect("locks")
        .insert("a1".to_owned(), ErrorCode::NotAMember);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    assert_eq!(
        refused(&mut client).await,
        ("a1".to_owned(), ErrorCode::NotAMember)
    );
    assert_eq!(ack(&mut client).await.client_id, "a2");
}

#[tokio::test]
async fn what_a_broken_stream_left_open_is_sent_again() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    assert_eq!(ack(&mut client).await.seq, 1);
    gateway
        .world
        .orchestrator
        .breaks_at
        .lock()
        .expect("locks")
        .insert("a3".to_owned());
    // Each alone in its lane: nothing can get before it.
    for (id, room, client_id) in [(3, "hall", "a2"), (4, "room", "a3"), (5, "attic", "a4")] {
        client.say(id, room, client_id).await;
    }
    let mut acked = Vec::new();
    for _ in 0..3 {
        acked.push(ack(&mut client).await.client_id);
    }
    acked.sort();
    assert_eq!(acked, ["a2", "a3", "a4"]);
    assert!(gateway.submit_streams() >= 2);
}

#[tokio::test]
async fn what_could_lose_its_order_is_left_to_its_client_to_send_again() {
    let gateway = Gateway::start().await;
    let orchestrator = &gateway.world.orchestrator;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    // The first is refused for good, the next has its place, and the stream breaks with both receipts.
    *orchestrator.loses_up_to.lock().expect("locks") = Some("a2".to_owned());
    orchestrator
        .refuse_once
        .lock()
        .expect("locks")
        .insert("a1".to_owned(), ErrorCode::NotAMember);
    client.say(2, "hall", "a0").await;
    client.say(3, "room", "a1").await;
    client.say(4, "room", "a2").await;
    let mut open = Vec::new();
    let mut placed = Vec::new();
    while open.len() + placed.len() < 3 {
        match client.frame().await {
            ServerFrame::SendAck(ack) => placed.push(ack.client_id),
            ServerFrame::Error(error) => {
                open.push((error.client_id, code(error.error.as_ref())));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(placed, ["a0"], "it was alone");
    let unknown = ["a1", "a2"].map(|it| (it.to_owned(), ErrorCode::DeadlineExceeded));
    assert_eq!(open, unknown, "the first would stand behind the next");
    // The client has its own order.
    for (id, client_id) in [(6, "a1"), (7, "a2")] {
        client.say(id, "room", client_id).await;
        assert_eq!(ack(&mut client).await.client_id, client_id);
    }
}

#[tokio::test]
async fn an_owner_that_is_none_any_more_is_asked_again_by_another_stream() {
    let gateway = Gateway::start().await;
    gateway
        .world
        .orchestrator
        .refuse_once
        .lock()
        .expect("locks")
        .insert("a1".to_owned(), ErrorCode::NotOwner);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    assert_eq!(ack(&mut client).await.client_id, "a1");
    assert_eq!(ack(&mut client).await.client_id, "a2");
    assert_eq!(
        *gateway.world.orchestrator.order.lock().expect("locks"),
        ["a1", "a2"]
    );
}

#[tokio::test]
async fn what_an_owner_may_have_placed_before_it_was_none_is_its_client_s_to_send_again() {
    let gateway = Gateway::start().await;
    let orchestrator = &gateway.world.orchestrator;
    orchestrator.refuse_once.lock().expect("locks").extend([
        ("a1".to_owned(), ErrorCode::NotOwner),
        ("b1".to_owned(), ErrorCode::DeadlineExceeded),
    ]);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "hall", "b1").await;
    let (mut placed, mut open) = (None, None);
    while placed.is_none() || open.is_none() {
        match client.frame().await {
            ServerFrame::SendAck(ack) => placed = Some(ack.client_id),
            ServerFrame::Error(error) => {
                open = Some((error.client_id, code(error.error.as_ref())));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(placed.as_deref(), Some("a1"));
    let unknown = ("b1".to_owned(), ErrorCode::DeadlineExceeded);
    assert_eq!(open, Some(unknown));
    client.say(4, "hall", "b1").await;
    assert_eq!(ack(&mut client).await.client_id, "b1");
}

#[tokio::test]
async fn a_command_without_a_receipt_is_refused_in_time_and_placed_once_when_it_comes_again() {
    let gateway = Gateway::with(|config| config.command_ms = 200).await;
    let orchestrator = &gateway.world.orchestrator;
    orchestrator.answers.send_replace(false);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    client.say(2, "room", "a1").await;
    client.say(3, "room", "a2").await;
    assert_eq!(
        refused(&mut client).await,
        ("a1".to_owned(), ErrorCode::DeadlineExceeded)
    );
    assert_eq!(refused(&mut client).await.0, "a2");
    orchestrator.answers.send_replace(true);
    client.say(4, "room", "a1").await;
    assert_eq!(ack(&mut client).await.client_id, "a1");
    client.say(5, "room", "a2").await;
    assert_eq!(ack(&mut client).await.client_id, "a2");
    assert_eq!(*orchestrator.order.lock().expect("locks"), ["a1", "a2"]);
}

#[tokio::test]
async fn commands_wait_for_an_orchestrator_that_is_away_for_a_moment() {
    let gateway = Gateway::start().await;
    gateway
        .world
        .orchestrator
        .is_away
        .store(true, Ordering::SeqCst);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    gateway
        .world
        .orchestrator
        .breaks_at
        .lock()
        .expect("locks")
        .insert("a1".to_owned());
    for (id, room, client_id) in [(2, "room", "a1"), (3, "hall", "a2")] {
        client.say(id, room, client_id).await;
    }
    // A Pong after them shows that they were read.
    client.send(ClientFrame::Ping(Ping { id: 4 })).await;
    assert!(matches!(client.frame().await, ServerFrame::Pong(_)));
    gateway
        .world
        .orchestrator
        .is_away
        .store(false, Ordering::SeqCst);
    assert_eq!(ack(&mut client).await.client_id, "a1");
    assert_eq!(ack(&mut client).await.client_id, "a2");
}

#[tokio::test]
async fn what_stood_behind_a_refused_message_is_not_placed_by_the_next_stream() {
    let gateway = Gateway::start().await;
    let orchestrator = &gateway.world.orchestrator;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for round in 0..20 {
        let [first, second, third] = [1, 2, 3].map(|it| format!("r{round}-{it}"));
        orchestrator
            .refuse_once
            .lock()
            .expect("locks")
            .insert(first.clone(), ErrorCode::Unavailable);
        orchestrator
            .breaks_at
            .lock()
            .expect("locks")
            .insert(second.clone());
        for (id, client_id) in [(2, &first), (3, &second), (4, &third)] {
            client.say(id, "room", client_id).await;
        }
        assert_eq!(
            refused(&mut client).await,
            (first.clone(), ErrorCode::Unavailable)
        );
        for expected in [&second, &third] {
            let (client_id, code) = refused(&mut client).await;
            assert_eq!(client_id, *expected);
            // Whether the broken stream had decided it, nobody knows.
            assert!(
                matches!(code, ErrorCode::RetryInOrder | ErrorCode::DeadlineExceeded),
                "{code:?}"
            );
        }
        orchestrator.breaks_at.lock().expect("locks").clear();
        for (id, client_id) in [(5, &first), (6, &second), (7, &third)] {
            client.say(id, "room", client_id).await;
            assert_eq!(ack(&mut client).await.client_id, *client_id);
        }
    }
    let order = orchestrator.order.lock().expect("locks").clone();
    let expected = (0..20).flat_map(|round| [1, 2, 3].map(|it| format!("r{round}-{it}")));
    assert_eq!(order, expected.collect::<Vec<_>>());
}
