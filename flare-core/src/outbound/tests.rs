use bytes::Bytes;
use flare_proto::{
    client::Deliver,
    message::{Event, EventHeader},
};
use prost::Message;

use super::*;
use crate::codec::decode_server;

const MAX_FRAME: usize = 1 << 20;

fn event(conversation_id: &str, seq: u64) -> Outbound {
    let header = EventHeader {
        conversation_id: conversation_id.to_owned(),
        seq,
        ..EventHeader::default()
    };
    let event = Event {
        header: Some(header),
        body: Bytes::from(vec![0x62; 100]),
    };
    Outbound::Deliver(EncodedEvent::new(&event.encode_to_vec()).expect("an event"))
}

fn payload(bytes: usize) -> Payload {
    Payload {
        bytes: Bytes::from(vec![b'x'; bytes]),
        text: false,
    }
}

fn queue(max_bytes: usize) -> OutboundQueue {
    OutboundQueue::new(Codec::Proto, max_bytes)
}

fn hinted(payload: Payload) -> Vec<String> {
    match decode_server(Codec::Proto, payload.bytes, MAX_FRAME) {
        Ok(ServerFrame::SyncHint(hint)) => hint.conversation_ids,
        other => panic!("{other:?}"),
    }
}

fn seqs(payload: Payload) -> Vec<u64> {
    let Ok(ServerFrame::Deliver(Deliver { events })) =
        decode_server(Codec::Proto, payload.bytes, MAX_FRAME)
    else {
        panic!("no Deliver");
    };
    events
        .into_iter()
        .filter_map(|event| Event::decode(event).ok()?.header)
        .map(|header| header.seq)
        .collect()
}

#[test]
fn neighbouring_events_share_a_frame_and_keep_their_place() {
    let mut queue = queue(10_000);
    for seq in 1..=3 {
        assert_eq!(queue.push(event("team", seq), 0), Pushed::Queued);
    }
    assert_eq!(queue.push(Outbound::Answer(payload(5)), 0), Pushed::Queued);
    assert_eq!(queue.push(event("team", 4), 0), Pushed::Queued);
    assert_eq!(seqs(queue.pop(MAX_FRAME).expect("events")), [1, 2, 3]);
    assert_eq!(queue.pop(MAX_FRAME), Some(payload(5)));
    assert_eq!(seqs(queue.pop(MAX_FRAME).expect("an event")), [4]);
    assert!(queue.pop(MAX_FRAME).is_none());
    assert!(queue.is_empty() && queue.bytes() == 0);
}

#[test]
fn a_frame_of_events_is_bounded() {
    let mut queue = queue(10_000);
    for seq in 1..=5 {
        assert_eq!(queue.push(event("team", seq), 0), Pushed::Queued);
    }
    assert_eq!(seqs(queue.pop(300).expect("events")), [1, 2]);
    assert_eq!(seqs(queue.pop(1).expect("an event")), [3]);
}

#[test]
fn an_overflow_clears_events_and_hints_at_their_conversations() {
    let mut queue = queue(1_000);
    assert_eq!(queue.push(Outbound::Answer(payload(10)), 0), Pushed::Queued);
    let mut seq = 0;
    let overflowed = loop {
        seq += 1;
        let conversation = if seq % 2 == 0 { "team" } else { "club" };
        match queue.push(event(conversation, seq), 0) {
            Pushed::Queued => assert!(queue.bytes() <= 1_000),
            other => break other,
        }
    };
    assert_eq!(overflowed, Pushed::Overflowed);
    assert!(!queue.hints_at_inbox());
    assert_eq!(queue.push(event("team", 100), 1), Pushed::Queued);
    assert_eq!(
        hinted(queue.pop(MAX_FRAME).expect("a hint")),
        ["club", "team"]
    );
    assert_eq!(queue.pop(MAX_FRAME), Some(payload(10)));
    assert_eq!(seqs(queue.pop(MAX_FRAME).expect("an event")), [100]);
    assert!(queue.is_empty());
}

#[test]
fn a_second_overflow_within_30_s_closes_and_a_later_one_does_not() {
    for (later_ms, expected) in [(29_999, Pushed::SlowReader), (30_000, Pushed::Overflowed)] {
        let mut queue = queue(500);
        let overflow = |queue: &mut OutboundQueue, now_ms| {
            (1..)
                .map(|seq| queue.push(event("team", seq), now_ms))
                .find(|it| *it != Pushed::Queued)
        };
        assert_eq!(overflow(&mut queue, 5_000), Some(Pushed::Overflowed));
        assert_eq!(overflow(&mut queue, 5_000 + later_ms), Some(expected));
    }
}

#[test]
fn hints_of_two_overflows_are_one() {
    let mut queue = queue(500);
    for (conversation, now_ms) in [("team", 0), ("club", 60_000)] {
        while queue.push(event(conversation, 1), now_ms) == Pushed::Queued {}
    }
    assert_eq!(
        hinted(queue.pop(MAX_FRAME).expect("a hint")),
        ["club", "team"]
    );
    assert!(queue.pop(MAX_FRAME).is_none());
}

#[test]
fn more_than_64_conversations_are_not_named() {
    let fill = |conversations: usize| {
        let mut queue = queue(1_000_000);
        for index in 0..conversations {
            assert_eq!(
                queue.push(event(&format!("c{index}"), 1), 0),
                Pushed::Queued
            );
        }
        assert_eq!(
            queue.push(Outbound::Transient(payload(1_000_000)), 0),
            Pushed::Overflowed
        );
        hinted(queue.pop(MAX_FRAME).expect("a hint")).len()
    };
    assert_eq!(fill(64), 64);
    assert_eq!(fill(65), 0);
}

#[test]
fn a_lost_inbox_signal_makes_the_hint_name_none() {
    let mut queue = queue(500);
    assert_eq!(queue.push(event("team", 1), 0), Pushed::Queued);
    assert_eq!(
        queue.push(Outbound::Inbox(payload(400)), 0),
        Pushed::Overflowed
    );
    assert!(queue.hints_at_inbox());
    assert!(hinted(queue.pop(MAX_FRAME).expect("a hint")).is_empty());
    assert!(!queue.hints_at_inbox());
}

#[test]
fn answers_are_never_lost_but_too_many_close() {
    let mut queue = queue(100);
    for _ in 0..10 {
        assert_eq!(queue.push(Outbound::Answer(payload(10)), 0), Pushed::Queued);
    }
    assert_eq!(
        queue.push(Outbound::Answer(payload(10)), 0),
        Pushed::SlowReader
    );
    let mut left = 0;
    while queue.pop(MAX_FRAME).is_some_and(|it| it == payload(10)) {
        left += 1;
    }
    assert_eq!(left, 10);
}

#[test]
fn an_answer_takes_the_place_of_cleared_events() {
    let mut queue = queue(500);
    while queue.bytes() + 200 < 500 {
        assert_eq!(queue.push(event("team", 1), 0), Pushed::Queued);
    }
    assert_eq!(
        queue.push(Outbound::Answer(payload(400)), 0),
        Pushed::Overflowed
    );
    assert_eq!(hinted(queue.pop(MAX_FRAME).expect("a hint")), ["team"]);
    assert_eq!(queue.pop(MAX_FRAME), Some(payload(400)));
}

#[test]
fn one_frame_larger_than_the_bound_is_taken_when_nothing_waits() {
    let mut queue = queue(100);
    assert_eq!(
        queue.push(Outbound::Answer(payload(5_000)), 0),
        Pushed::Queued
    );
    assert_eq!(
        queue.push(Outbound::Answer(payload(1)), 0),
        Pushed::SlowReader
    );
    assert_eq!(queue.pop(MAX_FRAME), Some(payload(5_000)));
}

#[test]
fn an_idle_queue_holds_no_memory() {
    let mut queue = queue(1_000_000);
    assert_eq!(queue.waiting.capacity(), 0);
    for seq in 1..=1_000 {
        assert_eq!(queue.push(event("team", seq), 0), Pushed::Queued);
    }
    while queue.pop(MAX_FRAME).is_some() {}
    assert!(queue.waiting.capacity() <= KEPT_PLACES);
}

#[test]
fn a_hint_at_a_conversation_is_told_as_it_is_and_with_what_was_cleared_after_an_overflow() {
    let hint = |conversation_id: &str| Outbound::Hint {
        conversation_id: conversation_id.into(),
        payload: payload(60),
    };
    let mut queue = queue(100);
    assert_eq!(queue.push(hint("team"), 0), Pushed::Queued);
    assert_eq!(queue.pop(MAX_FRAME), Some(payload(60)));
    assert_eq!(queue.push(hint("team"), 0), Pushed::Queued);
    assert_eq!(queue.push(hint("club"), 0), Pushed::Overflowed);
    assert_eq!(
        hinted(queue.pop(MAX_FRAME).expect("a hint")),
        ["club", "team"]
    );
    assert!(queue.is_empty());
}
