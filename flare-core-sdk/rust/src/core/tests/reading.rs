//! What is asked for, and what is told.

use super::*;

#[test]
fn after_connecting_the_inbox_is_asked_and_then_whatever_is_behind() {
    let mut bench = bench(|options| {
        let known = |seq| Cursor {
            seq: Some(seq),
            heard_seq: seq,
        };
        options.cursors = Cursors {
            conversations: [("a".to_owned(), known(3)), ("b".to_owned(), known(5))].into(),
            inbox_token: "t0".to_owned(),
        };
    });
    bench.connect();
    bench.answer_inbox(&[("a", 5), ("b", 5)]);
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("a".to_owned(), 3)], "b is up to date");
    bench.answer_sync(id, "a", 4..=5, 5);
    let happened = bench.happened();
    assert!(
        matches!(happened.last(), Some(Event::SyncedTo { conversation_id, seq: 5 }) if conversation_id == "a")
    );
    assert!(bench.says().is_empty());
    let cursors = bench.events.cursors();
    assert_eq!(cursors.seq("a"), Some(5));
    assert_eq!(cursors.inbox_token, "t1");
}

#[test]
fn what_an_earlier_run_heard_of_and_did_not_read_is_read_now() {
    let mut bench = bench(|options| {
        let behind = Cursor {
            seq: Some(3),
            heard_seq: 9,
        };
        options.cursors.conversations = [("a".to_owned(), behind)].into();
    });
    bench.connect();
    let asked = bench.says();
    assert!(
        asked
            .iter()
            .any(|it| matches!(it, Frame::Sync(sync) if sync.ranges[0].after_seq == 3)),
        "{asked:?}"
    );
}

#[test]
fn an_own_receipt_above_a_gap_waits_for_the_sync() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(deliver("g", [1]));
    let _answer = bench.send(Target::conversation("g"), "late");
    let sends = bench.said_sends();
    bench.hear(ack(&sends[0], "g", 4));
    assert_eq!(bench.told("g"), [(1, Via::Deliver)]);
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("g".to_owned(), 1)]);
    bench.answer_sync(id, "g", 2..=3, 3);
    assert_eq!(
        bench.told("g"),
        [(2, Via::Sync), (3, Via::Sync), (4, Via::OwnAck)]
    );
}

#[test]
fn a_hint_names_conversations_or_asks_for_the_inbox() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(deliver("g", [1]));
    bench.hear(ServerFrame::SyncHint(SyncHint {
        conversation_ids: vec!["g".to_owned()],
        ..SyncHint::default()
    }));
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("g".to_owned(), 1)]);
    bench.answer_sync(id, "g", 2..=2, 2);
    assert_eq!(bench.told("g").len(), 2);
    bench.hear(ServerFrame::SyncHint(SyncHint::default()));
    bench.answer_inbox(&[("h", 2)]);
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("h".to_owned(), 0)]);
    bench.answer_sync(id, "h", 1..=2, 2);
    assert_eq!(bench.told("h").len(), 2);
}

#[test]
fn a_slow_consumer_loses_nothing_and_the_queue_stays_bounded() {
    let mut bench = bench(|options| options.queued_events = 8);
    bench.settle();
    for seq in 1..=100 {
        bench.hear(deliver("g", [seq]));
    }
    assert!(
        bench.says().is_empty(),
        "nothing is asked for while there is no room"
    );
    let first = bench.told("g");
    assert_eq!(first.len(), 8);
    let mut seqs: Vec<u64> = first.iter().map(|it| it.0).collect();
    while seqs.len() < 100 {
        let (id, asked) = bench.asked_sync();
        let after = asked[0].1;
        bench.answer_sync(id, "g", after + 1..=(after + 30).min(100), 100);
        seqs.extend(bench.told("g").iter().map(|it| it.0));
    }
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
}

#[test]
fn what_the_consumer_is_done_with_is_acknowledged_after_a_moment() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(deliver("g", [1, 2]));
    assert_eq!(bench.told("g").len(), 2);
    assert!(bench.says().is_empty());
    bench.now_ms += 200;
    let said = bench.says();
    let [Frame::Ack(ack)] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert_eq!(
        (
            ack.positions[0].conversation_id.as_str(),
            ack.positions[0].seq
        ),
        ("g", 2)
    );
}

#[test]
fn a_new_conversation_begins_with_a_snapshot_if_wished() {
    let mut bench = bench(|options| options.first_sight = FirstSight::Snapshot(20));
    bench.connect();
    bench.answer_inbox(&[("g", 50)]);
    bench.hear(deliver("g", [51, 52]));
    let said = bench.says();
    let [Frame::Call(call)] = said.as_slice() else {
        panic!("{said:?}")
    };
    let id = call.id;
    let snapshot = SnapshotResponse {
        as_of_seq: 51,
        ..SnapshotResponse::default()
    };
    bench.reply(id, "flare.storage.v1.SnapshotResponse", &snapshot);
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("g".to_owned(), 51)]);
    bench.answer_sync(id, "g", 52..=52, 52);
    assert_eq!(bench.told("g"), [(52, Via::Sync)]);
    assert_eq!(bench.events.cursors().seq("g"), Some(52));
}

#[test]
fn an_answer_that_would_be_too_large_is_asked_for_in_parts() {
    let mut bench = bench(|_| {});
    bench.connect();
    bench.answer_inbox(&[("g", 50)]);
    let said = bench.says();
    let [Frame::Sync(sync)] = said.as_slice() else {
        panic!("{said:?}")
    };
    let before = sync.ranges[0].limit.unwrap();
    bench.hear(error(sync.id, ErrorCode::LimitExceeded, 0));
    bench.now_ms += 1_000;
    let said = bench.says();
    let [Frame::Sync(sync)] = said.as_slice() else {
        panic!("{said:?}")
    };
    assert!(sync.ranges[0].limit.unwrap() < before);
}

#[test]
fn a_conversation_that_may_not_be_read_is_told_and_left() {
    let mut bench = bench(|_| {});
    bench.connect();
    bench.answer_inbox(&[("g", 5)]);
    let (id, _) = bench.asked_sync();
    let refused = RangeResult {
        conversation_id: "g".to_owned(),
        error: Some(Error {
            code: ErrorCode::NotAMember.into(),
            ..Error::default()
        }),
        ..RangeResult::default()
    };
    let answer = ReadRangesResponse {
        ranges: vec![refused],
    };
    bench.reply(id, "flare.storage.v1.ReadRangesResponse", &answer);
    assert!(matches!(
        bench.happened().last(),
        Some(Event::Unreadable { .. })
    ));
    bench.now_ms += 10_000;
    assert!(bench.says().iter().all(|it| matches!(it, Frame::Ping(_))));
}

#[test]
fn a_hint_at_a_head_asks_for_what_is_missing_and_for_nothing_else() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(deliver("g", [1]));
    let hint = |seq| {
        ServerFrame::SyncHint(SyncHint {
            conversation_ids: vec!["g".to_owned()],
            head_seqs: vec![seq],
        })
    };
    bench.hear(hint(1));
    assert_eq!(bench.says(), []);
    bench.hear(hint(3));
    let (id, asked) = bench.asked_sync();
    assert_eq!(asked, [("g".to_owned(), 1)]);
    bench.answer_sync(id, "g", 2..=3, 3);
    assert_eq!(bench.told("g").len(), 3);
    // Of a head that is not known it is asked.
    bench.hear(hint(0));
    bench.asked_sync();
}

/// What the device says it shows, in the order in which it says so.
fn viewing(frames: &[Frame]) -> Vec<(String, bool)> {
    let viewing = |it: &Frame| match it {
        Frame::Signal(signal) => match &signal.signal {
            Some(client_signal::Signal::Viewing(viewing)) => {
                Some((signal.conversation_id.clone(), viewing.active))
            }
            _ => None,
        },
        _ => None,
    };
    frames.iter().filter_map(viewing).collect()
}

#[test]
fn what_the_device_shows_is_said_once_and_again_on_each_connection_before_anything_is_asked() {
    let mut bench = bench(|_| {});
    bench.core.view("g".to_owned(), true);
    bench.connect();
    let said = bench.says();
    assert!(matches!(said[0], Frame::Signal(_)), "{said:?}");
    assert_eq!(viewing(&said), [("g".to_owned(), true)]);
    bench.core.view("g".to_owned(), true);
    bench.core.view("h".to_owned(), true);
    bench.core.view("i".to_owned(), false);
    let said = bench.says();
    assert_eq!(viewing(&said), [("h".to_owned(), true)]);
    bench.core.view("g".to_owned(), false);
    assert_eq!(viewing(&bench.says()), [("g".to_owned(), false)]);
    bench.core.disconnected(&DisconnectReason::Silent);
    bench.connect();
    assert_eq!(viewing(&bench.says()), [("h".to_owned(), true)]);
    for number in 0..MAX_VIEWED {
        bench.core.view(format!("more-{number}"), true);
    }
    let said = viewing(&bench.says());
    assert_eq!(said.len(), MAX_VIEWED + 1);
    assert!(said.contains(&("h".to_owned(), false)));
}
