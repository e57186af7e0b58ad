//! What was taken back is handed to nobody.

use bytes::Bytes;
use flare_proto::{
    message::{Event, EventKind},
    storage::history_request::Position,
};
use prost::Message;

use crate::ground::{Ground, header, system, user};

/// The event as it was written, without its body.
fn blank(event: &Bytes) -> Event {
    Event {
        body: Bytes::new(),
        ..Event::decode(event.clone()).unwrap()
    }
}

#[tokio::test]
async fn a_sync_after_the_recall_has_the_events_place_and_not_its_content() {
    let mut ground = Ground::new();
    ground.talk.say("team", 5).await;
    ground.show("alice", "team", 0, 0);
    let before = ground.sync(user("alice"), "team", 0, 200).await.unwrap();
    assert_eq!(
        before.events,
        ground.talk.events("team"),
        "nothing recalled"
    );
    ground.talk.recall("team", 2).await;
    ground.talk.recall("team", 4).await;
    let all = ground.talk.events("team");
    // Also where the recall's own event is not in the answer, and for the system.
    for (who, limit) in [(user("alice"), 4), (user("alice"), 200), (system(), 200)] {
        let answer = ground.sync(who, "team", 0, limit).await.unwrap();
        assert_eq!(answer.events.len(), all.len().min(limit as usize));
        for (event, written) in answer.events.iter().zip(&all) {
            let seq = header(written).seq;
            if [2, 4].contains(&seq) {
                assert_eq!(Event::decode(event.clone()).unwrap(), blank(written));
            } else {
                assert_eq!(event, written, "seq {seq} is as it was written");
            }
        }
    }
}

#[tokio::test]
async fn more_recalls_than_a_head_has_room_for_are_known_all_the_same() {
    let mut ground = Ground::new();
    ground.talk.say("team", 100).await;
    for seq in (1..=99).step_by(1).filter(|seq| seq % 10 != 0) {
        ground.talk.recall("team", seq).await;
    }
    ground.show("alice", "team", 0, 0);
    let mut after = 0;
    while after < 100 {
        let answer = ground.sync(user("alice"), "team", after, 7).await.unwrap();
        for event in &answer.events {
            let event = Event::decode(event.clone()).unwrap();
            let header = event.header.unwrap();
            if header.kind() == EventKind::MessageCreated {
                let is_recalled = header.seq % 10 != 0;
                assert_eq!(event.body.is_empty(), is_recalled, "seq {}", header.seq);
            } else {
                assert!(!event.body.is_empty(), "a recall says what it takes back");
            }
        }
        after += answer.events.len() as u64;
    }
}

#[tokio::test]
async fn who_left_before_the_recall_is_not_shown_it_either() {
    let mut ground = Ground::new();
    ground.talk.say("team", 3).await;
    ground.show("dave", "team", 0, 3);
    ground.talk.recall("team", 2).await;
    let answer = ground.sync(user("dave"), "team", 0, 200).await.unwrap();
    let bodies: Vec<_> = answer
        .events
        .iter()
        .map(|it| Event::decode(it.clone()).unwrap().body.is_empty())
        .collect();
    assert_eq!(bodies, [false, true, false]);
    assert_eq!(answer.head_seq, 3);
}

#[tokio::test]
async fn a_page_says_by_what_a_message_was_taken_back() {
    let mut ground = Ground::new();
    ground.talk.say("team", 3).await;
    ground.talk.recall("team", 2).await;
    ground.show("alice", "team", 0, 0);
    let all = ground.talk.events("team");
    for position in [None, Some(Position::AroundSeq(2))] {
        let page = ground.page(user("alice"), "team", position, 10, "").await;
        for (message, written) in page.unwrap().messages.iter().zip(&all) {
            if header(written).seq == 2 {
                let event = Event::decode(message.event.clone()).unwrap();
                assert_eq!(event, blank(written));
                assert_eq!((message.recalled, message.recalled_by_seq), (true, 4));
            } else {
                assert_eq!(&message.event, written);
                assert_eq!((message.recalled, message.recalled_by_seq), (false, 0));
            }
        }
    }
}
