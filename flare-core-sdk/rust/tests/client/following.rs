//! What a client is told, what it says of that, and how it ends.

use std::sync::{Arc, Mutex};

use flare_core::codec::{ClientFrame, ServerFrame};
use flare_core_sdk::{
    Client, ConversationEvent, DisconnectReason, Draft, Event, Intent, Observer, Refusal,
    SyncAnswer, Via,
    proto::{
        client::{CloseReason, Deliver, Kicked, SendAck, SyncHint},
        common::ErrorCode,
        message::{self, EventKind},
        storage::{RangeResult, ReadRangesResponse},
    },
};

use prost::Message as _;

use crate::{
    fake_server::{FakeServer, event},
    group, next, next_told, soon,
};

#[tokio::test]
async fn none_of_many_frames_that_come_at_once_is_lost() {
    const FRAMES: u64 = 300;
    let server = FakeServer::start().await;
    let (_client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    peer.say_at_once((1..=FRAMES).map(|seq| {
        ServerFrame::Deliver(Deliver {
            events: vec![event("g", seq)],
        })
    }))
    .await;
    for seq in 1..=FRAMES {
        let told = next_told(&mut events).await;
        assert_eq!((told.header.seq, told.via), (seq, Via::Deliver));
    }
}

#[tokio::test]
async fn a_gap_is_synced_and_the_next_run_goes_on_where_the_last_one_ended() {
    let server = FakeServer::start().await;
    let (client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    peer.deliver("g", [1, 4]).await;
    let sync = match peer.next().await {
        Some(ClientFrame::Ack(_)) => peer.next().await,
        other => other,
    };
    let Some(ClientFrame::Sync(sync)) = sync else {
        panic!("{sync:?}")
    };
    assert_eq!(sync.ranges[0].after_seq, 1);
    let result = RangeResult {
        conversation_id: "g".to_owned(),
        events: vec![event("g", 2), event("g", 3)],
        head_seq: 3,
        floor_seq: 1,
        ..RangeResult::default()
    };
    let answer = ReadRangesResponse {
        ranges: vec![result],
    };
    peer.reply(sync.id, "flare.storage.v1.ReadRangesResponse", &answer)
        .await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(next_told(&mut events).await.header.seq);
    }
    assert_eq!(told, [1, 2, 3, 4]);
    let cursors = events.cursors().clone();
    soon(client.close()).await;
    drop(peer);

    let mut options = server.options();
    options.cursors = cursors;
    let (_client, mut events) = Client::connect(options);
    let mut peer = server.welcomed().await;
    peer.deliver("g", [4, 5]).await;
    assert_eq!(next_told(&mut events).await.header.seq, 5);
}

#[tokio::test]
async fn a_message_that_was_taken_back_is_told_at_its_place_without_its_content() {
    let server = FakeServer::start().await;
    let (_client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    peer.deliver("g", [4]).await;
    let Some(ClientFrame::Sync(sync)) = peer.next().await else {
        panic!("it asks for what is below seq 4")
    };
    let made = |seq: u64, kind: EventKind, is_withheld: bool| {
        let mut event = message::Event::decode(event("g", seq)).expect("an event");
        event.header.get_or_insert_default().set_kind(kind);
        if is_withheld {
            event.body.clear();
        }
        event.encode_to_vec().into()
    };
    let result = RangeResult {
        conversation_id: "g".to_owned(),
        events: vec![
            made(1, EventKind::MessageCreated, true),
            made(2, EventKind::MessageCreated, false),
            made(3, EventKind::MessageRecalled, false),
        ],
        head_seq: 3,
        floor_seq: 1,
        ..RangeResult::default()
    };
    let answer = ReadRangesResponse {
        ranges: vec![result],
    };
    peer.reply(sync.id, "flare.storage.v1.ReadRangesResponse", &answer)
        .await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = next_told(&mut events).await;
        told.push((event.header.seq, event.is_withheld(), event.content()));
    }
    let [(1, true, None), (2, false, Some(_)), (3, false, _)] = told[..] else {
        panic!("{told:?}")
    };
}

#[tokio::test]
async fn consumed_events_are_acknowledged_and_so_again_on_the_next_connection() {
    let server = FakeServer::start().await;
    let (_client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    peer.deliver("g", [1, 2]).await;
    let reader = tokio::spawn(async move { while events.next().await.is_some() {} });
    for connection in 0..2 {
        let mut acknowledged = 0;
        while acknowledged < 2 {
            match peer.next().await {
                Some(ClientFrame::Ack(ack)) => acknowledged = ack.positions[0].seq,
                other => panic!("{other:?}"),
            }
        }
        if connection == 0 {
            drop(peer);
            peer = server.welcomed().await;
        }
    }
    reader.abort();
}

#[tokio::test]
async fn who_is_displaced_does_not_come_back() {
    let server = FakeServer::start().await;
    let (_client, mut events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    let kicked = Kicked {
        reason: CloseReason::Replaced.into(),
        message: String::new(),
    };
    peer.say(ServerFrame::Kicked(kicked)).await;
    loop {
        match next(&mut events).await {
            Some(Event::Disconnected { reason, retry_in }) => {
                assert!(matches!(
                    reason,
                    DisconnectReason::Closed {
                        reason: CloseReason::Replaced,
                        ..
                    }
                ));
                assert_eq!(retry_in, None);
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl Observer for Notes {
    fn intent(&self, command: &Intent<'_>) {
        self.note(format!("intent {}", command.client_id));
    }
    fn resent(&self, client_id: &str) {
        self.note(format!("resent {client_id}"));
    }
    fn acked(&self, ack: &SendAck) {
        self.note(format!("acked {} {}", ack.client_id, ack.seq));
    }
    fn refused(&self, client_id: &str, refusal: &Refusal) {
        self.note(format!(
            "refused {client_id} {}",
            refusal.code.as_str_name()
        ));
    }
    fn arrived(&self, event: &ConversationEvent) {
        self.note(format!("arrived {} {:?}", event.header.seq, event.via));
    }
    fn synced(&self, answer: &SyncAnswer<'_>) {
        self.note(format!(
            "synced {} to {} of {}",
            answer.after_seq, answer.to_seq, answer.head_seq
        ));
    }
    fn sync_hint(&self, conversation_id: Option<&str>) {
        self.note(format!("hint {}", conversation_id.unwrap_or("inbox")));
    }
    fn disconnected(&self, _reason: &DisconnectReason) {
        self.note("disconnected".to_owned());
    }
}

#[tokio::test]
async fn an_observer_is_told_everything_in_its_order() {
    let server = FakeServer::start().await;
    let notes = Arc::new(Notes::default());
    let mut options = server.options();
    options.observer = Arc::clone(&notes) as Arc<dyn Observer>;
    let (client, mut events) = Client::connect(options);
    let mut peer = server.welcomed().await;
    let sending = client.send(Draft::text(group(), "hello").with_client_id("one"));
    let send = peer.send().await;
    peer.refuse(send.id, ErrorCode::Unavailable, 1).await;
    peer.send().await;
    drop(peer);
    let mut peer = server.welcomed().await;
    let send = peer.send().await;
    peer.ack(&send, 1, false).await;
    soon(sending).await.unwrap();
    let hint = SyncHint {
        conversation_ids: vec!["g".to_owned()],
        ..SyncHint::default()
    };
    peer.say(ServerFrame::SyncHint(hint)).await;
    let sync = loop {
        match peer.next().await {
            Some(ClientFrame::Sync(sync)) => break sync,
            Some(ClientFrame::Ack(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    let result = RangeResult {
        conversation_id: "g".to_owned(),
        events: vec![event("g", 2)],
        head_seq: 2,
        floor_seq: 1,
        ..RangeResult::default()
    };
    let answer = ReadRangesResponse {
        ranges: vec![result],
    };
    peer.reply(sync.id, "flare.storage.v1.ReadRangesResponse", &answer)
        .await;
    while next_told(&mut events).await.header.seq < 2 {}
    let expected = [
        "intent one",
        "refused one UNAVAILABLE",
        "resent one",
        "disconnected",
        "resent one",
        "acked one 1",
        "arrived 1 OwnAck",
        "hint g",
        "arrived 2 Sync",
        "synced 1 to 2 of 2",
    ];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_client_nobody_holds_ends_and_closes_its_connection() {
    let server = FakeServer::start().await;
    let (client, events) = Client::connect(server.options());
    let mut peer = server.welcomed().await;
    drop((client, events));
    assert_eq!(peer.next().await, None);
}
