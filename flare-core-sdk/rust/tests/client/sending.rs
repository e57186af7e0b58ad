//! Messages, calls, and their answers.

use flare_core::codec::ClientFrame;
use flare_core_sdk::{
    Client, Codec, Draft, SendError, Target, Via,
    proto::{
        common::ErrorCode,
        session::{ChangeResponse, RenameConversationRequest},
    },
};
use prost::Message as _;

use crate::{
    fake_server::{FakeServer, text},
    group, next_told, soon,
};

#[tokio::test]
async fn messages_have_their_receipts_in_both_codecs() {
    for codec in Codec::ALL {
        let server = FakeServer::start().await;
        let mut options = server.options();
        options.codec = codec;
        let (client, mut events) = Client::connect(options);
        let sending = client.send_text(Target::user("bob"), "hello");
        let mut peer = server.welcomed().await;
        let mut send = peer.send().await;
        assert_eq!(
            (send.user_id.as_str(), text(&send).as_str()),
            ("bob", "hello")
        );
        send.conversation_id = "d_1".to_owned();
        peer.ack(&send, 1, false).await;
        let sent = soon(sending).await.unwrap();
        assert_eq!(
            (sent.conversation_id.as_str(), sent.seq, sent.client_id),
            ("d_1", 1, send.client_id)
        );
        assert_eq!(next_told(&mut events).await.via, Via::OwnAck);
        peer.deliver("d_1", [2]).await;
        assert_eq!(next_told(&mut events).await.text().as_deref(), Some("2"));
        assert_eq!(client.identity().unwrap().user_id, "alice");
    }
}

#[tokio::test]
async fn what_has_no_receipt_is_sent_again_in_order_on_the_next_connection() {
    let server = FakeServer::start().await;
    let (client, _events) = Client::connect(server.options());
    let sendings: Vec<_> = (0..5)
        .map(|it| client.send_text(group(), it.to_string()))
        .collect();
    let mut first = server.welcomed().await;
    let before = first.sends(5).await;
    first.ack(&before[0], 1, false).await;
    // The next frame proves that the receipt was read before the connection breaks.
    let last = client.send_text(group(), "last");
    first.send().await;
    drop(first);

    let mut second = server.welcomed().await;
    let mut after = second.sends(5).await;
    assert_eq!(
        after.iter().map(text).collect::<Vec<_>>(),
        ["1", "2", "3", "4", "last"]
    );
    assert_eq!(after[0].client_id, before[1].client_id);
    for (seq, send) in (2..).zip(&mut after) {
        second.ack(send, seq, seq < 4).await;
    }
    let mut told = Vec::new();
    for sending in sendings.into_iter().chain([last]) {
        let sent = soon(sending).await.unwrap();
        told.push((sent.seq, sent.duplicate));
    }
    assert_eq!(
        told,
        [
            (1, false),
            (2, true),
            (3, true),
            (4, false),
            (5, false),
            (6, false)
        ]
    );
}

#[tokio::test]
async fn after_a_refusal_the_refused_one_comes_first_and_the_rest_follows() {
    let server = FakeServer::start().await;
    let (client, _events) = Client::connect(server.options());
    let sendings: Vec<_> = (0..3)
        .map(|it| client.send_text(group(), it.to_string()))
        .collect();
    let mut peer = server.welcomed().await;
    let before = peer.sends(3).await;
    peer.refuse(before[0].id, ErrorCode::ResourceExhausted, 30)
        .await;
    peer.refuse(before[1].id, ErrorCode::RetryInOrder, 0).await;
    peer.refuse(before[2].id, ErrorCode::RetryInOrder, 0).await;
    for seq in 1..=3 {
        let send = peer.send().await;
        assert_eq!(text(&send), (seq - 1).to_string());
        assert_eq!(send.client_id, before[seq - 1].client_id);
        peer.ack(&send, seq as u64, false).await;
    }
    for sending in sendings {
        soon(sending).await.unwrap();
    }
}

#[tokio::test]
async fn a_message_given_up_after_a_refusal_is_told_with_the_refusal() {
    let server = FakeServer::start().await;
    let (client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    let sending = client.send(Draft::text(group(), "first").with_client_id("one"));
    let send = peer.send().await;
    peer.refuse(send.id, ErrorCode::RateLimited, 60_000).await;
    // Whoever is told of this has read the refusal before it.
    peer.deliver("h", [1]).await;
    next_told(&mut events).await;
    client.give_up("one").await;
    match soon(sending).await {
        Err(SendError::Refused { client_id, refusal }) => {
            assert_eq!(
                (client_id.as_str(), refusal.code),
                ("one", ErrorCode::RateLimited)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refusal_for_good_is_told() {
    let server = FakeServer::start().await;
    let (client, _events) = Client::connect(server.options());
    let sending = client.send_text(group(), "hello");
    let mut peer = server.welcomed().await;
    let send = peer.send().await;
    peer.refuse(send.id, ErrorCode::NotAMember, 0).await;
    let told = soon(sending).await.unwrap_err();
    assert!(
        matches!(told, SendError::Refused { refusal, .. } if refusal.code == ErrorCode::NotAMember)
    );
}

#[tokio::test]
async fn a_full_outbox_says_so_at_once_and_has_room_again_after_receipts() {
    let server = FakeServer::start().await;
    let mut options = server.options();
    options.outbox_messages = 2;
    let (client, _events) = Client::connect(options);
    let (a, b) = (
        client.send_text(group(), "a"),
        client.send_text(group(), "b"),
    );
    let full = soon(client.send_text(group(), "c")).await.unwrap_err();
    assert!(
        matches!(full, SendError::Full { messages: 2, .. }),
        "{full}"
    );
    let mut peer = server.welcomed().await;
    for (seq, send) in (1..).zip(peer.sends(2).await) {
        peer.ack(&send, seq, false).await;
    }
    soon(a).await.unwrap();
    soon(b).await.unwrap();
    let again = client.send_text(group(), "d");
    let send = peer.send().await;
    peer.ack(&send, 3, false).await;
    soon(again).await.unwrap();
}

#[tokio::test]
async fn a_call_is_made_again_on_the_next_connection_under_the_same_client_id() {
    let server = FakeServer::start().await;
    let (client, _events) = Client::connect(server.options());
    let renamed = tokio::spawn(async move { client.rename_conversation("g", "new").await });
    let mut ids = Vec::new();
    for connection in 0..2 {
        let mut peer = server.welcomed().await;
        let Some(ClientFrame::Call(call)) = peer.next().await else {
            panic!("no call")
        };
        let request = call.request.unwrap();
        assert_eq!(
            request.type_url,
            "type.googleapis.com/flare.session.v1.RenameConversationRequest"
        );
        ids.push(
            RenameConversationRequest::decode(request.value.as_slice())
                .unwrap()
                .client_id,
        );
        if connection == 1 {
            let answer = ChangeResponse { seq: 8 };
            peer.reply(call.id, "flare.session.v1.ChangeResponse", &answer)
                .await;
            assert_eq!(soon(renamed).await.unwrap(), Ok(8));
            break;
        }
    }
    assert!(!ids[0].is_empty());
    assert_eq!(ids[0], ids[1]);
}
