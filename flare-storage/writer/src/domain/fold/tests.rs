use flare_proto::message::{ConversationClass, EventHeader, EventKind};
use flare_storage_model::{Epoch, LogState, fingerprint, flags};
use ulid::Ulid;

use super::*;

const MINE: Epoch = Epoch {
    number: 1,
    nonce: 7,
};

fn event(conversation: &str, seq: u64) -> LoggedEvent {
    let header = EventHeader {
        tenant_id: "t".to_owned(),
        conversation_id: conversation.to_owned(),
        seq,
        ordinal: seq,
        message_id: Ulid::from_parts(seq, u128::from(seq)).to_string(),
        sender_id: "alice".to_owned(),
        kind: EventKind::MessageCreated.into(),
        flags: flags::COUNTABLE,
        class: ConversationClass::Group.into(),
        client_id: format!("c{seq}"),
        ..EventHeader::default()
    };
    LoggedEvent::create(header, Bytes::new(), fingerprint(conversation, b"x")).unwrap()
}

/// A takeover and groups of one event each, alternately of two conversations.
fn log(groups: u64) -> Vec<(u64, Bytes)> {
    let takeover = LogRecord::Takeover {
        epoch: MINE,
        owner: "test".to_owned(),
    };
    let group = |n: u64| LogRecord::Group {
        epoch: MINE,
        n,
        events: vec![event(["a", "b"][(n % 2) as usize], n / 2 + 1)],
    };
    let records = std::iter::once(takeover).chain((0..groups).map(group));
    let encoded = records.map(|it| record::encode(&it).unwrap());
    (0..).zip(encoded).collect()
}

/// The state in front of `offset`.
fn at(offset: u64) -> Cursor {
    LogState {
        next_offset: offset,
        epoch: if offset == 0 { Epoch::default() } else { MINE },
        n: offset.saturating_sub(1),
        time_ms: 0,
    }
}

fn head(seq: u64) -> Option<Head> {
    Some(Head {
        seq,
        ordinal: seq,
        class: ConversationClass::Group,
        last_message: Some(seq),
        ..Head::default()
    })
}

fn offsets(step: &Step) -> Vec<u64> {
    let positions = step.positions.iter();
    positions.map(|it| it / POSITIONS_PER_RECORD).collect()
}

#[test]
fn what_the_store_has_already_is_passed_on_without_its_heads() {
    let mut fold = WriterFold::resuming(3, at(2), at(5));
    let records = log(8).split_off(2);
    let Output::Stored(step) = fold.step(Input::Records(records)).unwrap() else {
        panic!("three records are stored")
    };
    assert_eq!(offsets(&step), [2, 3, 4]);
    assert_eq!((step.batch.from, step.batch.to), (at(2), at(5)));
    assert_eq!(fold.cursor(), at(5));
    // Above, it commits as ever.
    let rest = log(8).split_off(5);
    let Output::ReadHeads(keys) = fold.step(Input::Records(rest)).unwrap() else {
        panic!("no head is known")
    };
    let heads = vec![head(2); keys.len()];
    let stored = at(5);
    let Output::Commit(step) = fold.step(Input::Heads { heads, stored }).unwrap() else {
        panic!("the rest is to be committed")
    };
    assert_eq!(offsets(&step), [5, 6, 7, 8]);
}

#[test]
fn heads_of_a_store_that_somebody_else_has_moved_judge_nothing() {
    let mut fold = WriterFold::new(3, at(1));
    let records = log(4).split_off(1);
    assert!(matches!(
        fold.step(Input::Records(records.clone())).unwrap(),
        Output::ReadHeads(_)
    ));
    let heads = vec![head(2), head(1)];
    let stored = at(4);
    let Output::Stored(step) = fold.step(Input::Heads { heads, stored }).unwrap() else {
        panic!("three records are stored")
    };
    assert_eq!(offsets(&step), [1, 2, 3]);
    let rest = fold.step(Input::Records(records[3..].to_vec())).unwrap();
    assert!(
        matches!(rest, Output::ReadHeads(keys) if keys.len() == 1),
        "of what is above"
    );
}

#[test]
fn passing_on_forgets_the_heads_of_before() {
    let mut fold = WriterFold::new(3, at(1));
    let records = log(6).split_off(1);
    let heads = |fold: &mut WriterFold, heads: Vec<Option<Head>>, stored: Cursor| {
        fold.step(Input::Heads { heads, stored }).unwrap()
    };
    // It learns the head of "a" and commits.
    fold.step(Input::Records(records[..1].to_vec())).unwrap();
    assert!(matches!(
        heads(&mut fold, vec![None], at(1)),
        Output::Commit(_)
    ));
    fold.step(Input::Committed).unwrap();
    // "b" is not known: meanwhile somebody else has come to 5.
    fold.step(Input::Records(records[1..].to_vec())).unwrap();
    assert!(matches!(
        heads(&mut fold, vec![head(2)], at(5)),
        Output::Stored(_)
    ));
    let asked = fold.step(Input::Records(records[4..].to_vec())).unwrap();
    assert!(
        matches!(&asked, Output::ReadHeads(keys) if keys.len() == 2),
        "{asked:?}"
    );
}

#[test]
fn a_store_that_does_not_follow_from_the_log_stops_the_partition() {
    let stored = LogState { n: 9, ..at(3) };
    let mut fold = WriterFold::resuming(3, at(0), stored);
    let error = fold.step(Input::Records(log(4))).unwrap_err();
    assert_eq!(
        error,
        FoldError::Diverged {
            log: Box::new(at(3)),
            stored: Box::new(stored),
        }
    );
}
