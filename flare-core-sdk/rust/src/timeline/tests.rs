use flare_proto::message::EventHeader;
use proptest::prelude::*;

use super::*;
use crate::event::Via;

fn event(seq: u64, via: Via) -> ConversationEvent {
    ConversationEvent {
        header: EventHeader {
            conversation_id: "c".to_owned(),
            seq,
            ..EventHeader::default()
        },
        body: bytes::Bytes::new(),
        raw: bytes::Bytes::new(),
        via,
    }
}

fn delivered(seq: u64) -> ConversationEvent {
    event(seq, Via::Deliver)
}

fn synced(seqs: impl IntoIterator<Item = u64>) -> Vec<ConversationEvent> {
    seqs.into_iter().map(|it| event(it, Via::Sync)).collect()
}

fn seqs(events: &[ConversationEvent]) -> Vec<u64> {
    events.iter().map(|it| it.header.seq).collect()
}

fn told(offered: Offered) -> Vec<u64> {
    match offered {
        Offered::Tell(events) => seqs(&events),
        Offered::Known | Offered::Missing => Vec::new(),
    }
}

fn at(seq: u64) -> Timeline {
    Timeline::new(Cursor {
        seq: Some(seq),
        heard_seq: seq,
    })
}

#[test]
fn the_next_event_is_told_and_a_known_one_is_not() {
    let mut timeline = at(4);
    assert_eq!(told(timeline.offer(delivered(5), true)), [5]);
    assert_eq!(timeline.offer(delivered(5), true), Offered::Known);
    assert_eq!(timeline.offer(delivered(2), true), Offered::Known);
    assert!(!timeline.is_behind());
}

#[test]
fn a_gap_is_waited_for_and_closed_by_a_sync() {
    let mut timeline = at(4);
    assert_eq!(timeline.offer(delivered(7), true), Offered::Missing);
    assert!(timeline.is_behind());
    timeline.asked();
    let answered = timeline.answer(4, synced([5, 6]), 6, 1, false);
    assert_eq!(seqs(&answered.tell), [5, 6, 7]);
    assert_eq!(answered.synced_to, Some(7));
    assert!(!timeline.is_behind());
}

#[test]
fn a_late_delivery_closes_the_gap_itself() {
    let mut timeline = at(4);
    assert_eq!(timeline.offer(delivered(6), true), Offered::Missing);
    assert_eq!(told(timeline.offer(delivered(5), true)), [5, 6]);
    assert!(!timeline.is_behind());
}

#[test]
fn what_has_no_room_is_left_to_a_sync() {
    let mut timeline = at(4);
    assert_eq!(timeline.offer(delivered(5), false), Offered::Missing);
    assert!(timeline.is_behind());
    assert_eq!(timeline.cursor(), Some(4));
    timeline.asked();
    let answered = timeline.answer(4, synced([5]), 5, 1, false);
    assert_eq!(seqs(&answered.tell), [5]);
}

#[test]
fn a_floor_moves_the_cursor_and_is_named() {
    let mut timeline = at(4);
    timeline.hint();
    timeline.asked();
    let answered = timeline.answer(4, synced([10, 11]), 11, 10, false);
    assert_eq!(answered.floor, Some(10));
    assert_eq!(seqs(&answered.tell), [10, 11]);
    // One event after the cursor is no jump.
    timeline.hint();
    timeline.asked();
    let answered = timeline.answer(11, synced([12]), 12, 12, false);
    assert_eq!(answered.floor, None);
}

#[test]
fn a_hole_in_an_answer_is_not_stepped_over() {
    let mut timeline = at(4);
    timeline.name_head(9);
    timeline.asked();
    let answered = timeline.answer(4, synced([5, 7, 8]), 9, 1, false);
    assert_eq!(seqs(&answered.tell), [5]);
    assert_eq!(timeline.cursor(), Some(5));
    assert!(timeline.is_behind());
}

#[test]
fn a_store_that_lags_behind_a_receipt_is_asked_again_and_an_inbox_that_erred_is_not() {
    let mut timeline = at(4);
    // Seen by a receipt while there was no room: it is there.
    timeline.see(5);
    timeline.asked();
    assert_eq!(timeline.answer(4, synced([]), 4, 1, false).synced_to, None);
    assert!(timeline.is_behind());
    assert_eq!(timeline.ask.vain, 1);

    let mut timeline = at(4);
    timeline.name_head(9);
    timeline.asked();
    let answered = timeline.answer(4, synced([]), 4, 1, false);
    assert_eq!(answered.synced_to, Some(4));
    assert!(!timeline.is_behind());
}

#[test]
fn what_is_heard_while_a_sync_is_on_its_way_is_asked_for_after_it() {
    let mut timeline = at(4);
    timeline.hint();
    timeline.asked();
    timeline.name_head(8);
    timeline.answer(4, synced([5]), 5, 1, false);
    assert!(
        timeline.is_behind(),
        "the head was named after the question"
    );

    let mut timeline = at(4);
    timeline.hint();
    timeline.asked();
    timeline.hint();
    timeline.answer(4, synced([]), 4, 1, false);
    assert!(timeline.is_behind(), "the hint came after the question");
}

#[test]
fn nothing_is_told_before_it_is_known_where_the_conversation_begins() {
    let mut timeline = Timeline::new(Cursor::default());
    assert!(!timeline.is_behind());
    assert_eq!(timeline.offer(delivered(7), true), Offered::Missing);
    assert!(timeline.is_behind());
    assert!(timeline.begin(6).is_empty());
    assert!(timeline.is_behind());
}

#[test]
fn a_closed_conversation_asks_for_nothing_until_it_is_heard_of_again() {
    let mut timeline = at(4);
    timeline.offer(delivered(9), true);
    timeline.close();
    assert!(!timeline.is_behind());
    timeline.offer(delivered(12), true);
    assert!(timeline.is_behind());
}

#[test]
fn events_that_come_too_early_are_kept_up_to_a_bound() {
    let mut timeline = at(0);
    for seq in 2..2_000 {
        timeline.offer(delivered(seq), true);
    }
    assert_eq!(timeline.ahead.len(), MAX_AHEAD);
    assert_eq!(
        told(timeline.offer(delivered(1), true)).len(),
        MAX_AHEAD + 1
    );
    assert!(timeline.is_behind(), "the rest is synced");
    assert_eq!(timeline.ahead_bytes, 0);
}

/// What may happen to a conversation of which the server keeps `head` events.
#[derive(Debug, Clone)]
enum Step {
    /// The server makes an event, and delivers it or loses the delivery.
    Make {
        delivered: bool,
    },
    /// It delivers an old one again.
    Again(u64),
    /// The receipt of an own event: made, and not delivered.
    Own,
    /// The consumer is full, or has room again.
    Room(bool),
    Hint,
    /// The question on its way is answered, or lost. `lag`: so many of the newest are not stored yet. `limit`: the answer's size.
    Answer {
        lag: u64,
        limit: u64,
    },
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|delivered| Step::Make { delivered }),
        1 => (1_u64..40).prop_map(Step::Again),
        1 => Just(Step::Own),
        1 => any::<bool>().prop_map(Step::Room),
        1 => Just(Step::Hint),
        3 => (0_u64..4, 1_u64..6).prop_map(|(lag, limit)| Step::Answer { lag, limit }),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #[test]
    fn each_seq_is_told_once_in_order_whatever_the_interleaving(steps in proptest::collection::vec(step(), 1..120)) {
        let mut timeline = at(0);
        let (mut head, mut room, mut told_so_far) = (0_u64, true, 0_u64);
        let mut question: Option<u64> = None;
        let mut tell = |events: Vec<ConversationEvent>| {
            for event in events {
                assert_eq!(event.header.seq, told_so_far + 1);
                told_so_far += 1;
            }
        };
        let finish = (0..200).flat_map(|_| [Step::Room(true), Step::Hint, Step::Answer { lag: 0, limit: 5 }]);
        for step in steps.into_iter().chain(finish) {
            if question.is_none() && timeline.is_behind() {
                question = timeline.cursor();
                timeline.asked();
            }
            let offered = match step {
                Step::Make { delivered: is_delivered } => {
                    head += 1;
                    is_delivered.then(|| timeline.offer(delivered(head), room))
                }
                Step::Again(seq) if seq <= head => Some(timeline.offer(delivered(seq), room)),
                Step::Own => {
                    head += 1;
                    Some(timeline.offer(event(head, Via::OwnAck), room))
                }
                Step::Room(now) => { room = now; None }
                Step::Hint => { timeline.hint(); None }
                Step::Answer { lag, limit } => {
                    if let Some(after) = question.take() {
                        let stored = head.saturating_sub(lag);
                        let to = stored.min(after + limit);
                        let answered = timeline.answer(after, synced(after + 1..=to), stored, 1, to < stored);
                        tell(answered.tell);
                    }
                    None
                }
                Step::Lose => {
                    if question.take().is_some() { timeline.unanswered(0); }
                    None
                }
                Step::Again(_) => None,
            };
            if let Some(Offered::Tell(events)) = offered {
                tell(events);
            }
        }
        prop_assert_eq!(timeline.cursor(), Some(head));
        prop_assert_eq!(told_so_far, head);
    }
}
