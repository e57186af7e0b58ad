//! What is sent, and when a connection is left.

use super::*;

#[test]
fn an_own_receipt_stands_for_its_event() {
    let mut bench = bench(|_| {});
    bench.settle();
    let mut answer = bench.send(Target::user("bob"), "hello");
    let sends = bench.said_sends();
    assert_eq!(
        ulid::Ulid::from_string(&sends[0].client_id)
            .unwrap()
            .timestamp_ms(),
        1_700_000_000_000
    );
    bench.hear(ack(&sends[0], "d_1", 1));
    assert_eq!(answer.try_recv().unwrap().unwrap().seq, 1);
    let happened = bench.happened();
    let [Event::Conversation(event)] = happened.as_slice() else {
        panic!("{happened:?}")
    };
    assert_eq!(event.via, Via::OwnAck);
    assert_eq!(event.text().as_deref(), Some("hello"));
    assert_eq!(event.header.participants, ["alice", "bob"]);
    // The same event by another way is not told again.
    bench.hear(deliver("d_1", [1, 2]));
    assert_eq!(bench.told("d_1"), [(2, Via::Deliver)]);
}

#[test]
fn connections_that_come_and_go_do_not_fill_the_queue() {
    let mut bench = bench(|options| options.queued_events = 4);
    for _ in 0..1_000 {
        bench.connect();
        let reason = DisconnectReason::Silent;
        bench.core.disconnected(&reason);
        bench.core.queue.push(Event::Disconnected {
            reason,
            retry_in: Some(Duration::ZERO),
        });
    }
    let happened = bench.happened();
    assert!(happened.len() < 8, "{}", happened.len());
    assert!(matches!(happened.last(), Some(Event::Disconnected { .. })));
}

#[test]
fn an_own_id_that_the_server_finds_too_far_ahead_is_made_anew_from_its_time() {
    let mut bench = bench(|_| {});
    bench.settle();
    let mut answer = bench.send(Target::conversation("g"), "hello");
    let first = bench.said_sends().remove(0);
    bench.hear(error(
        first.id,
        ErrorCode::ClientIdInFuture,
        1_600_000_000_000,
    ));
    let again = bench.said_sends().remove(0);
    assert_ne!(again.client_id, first.client_id);
    assert_eq!(
        ulid::Ulid::from_string(&again.client_id)
            .unwrap()
            .timestamp_ms(),
        1_600_000_000_000
    );
    bench.hear(ack(&again, "g", 1));
    assert!(answer.try_recv().unwrap().is_ok());
}

#[test]
fn the_servers_time_is_followed_by_its_pongs() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(ServerFrame::Pong(Pong {
        id: 9,
        server_time_ms: 1_800_000_000_000,
    }));
    let _answer = bench.send(Target::conversation("g"), "hello");
    let send = bench.said_sends().remove(0);
    assert_eq!(
        ulid::Ulid::from_string(&send.client_id)
            .unwrap()
            .timestamp_ms(),
        1_800_000_000_000
    );
}

#[test]
fn a_draining_server_is_asked_nothing_more_and_left_when_it_says() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.hear(ServerFrame::Goaway(Goaway {
        reconnect_after_ms: 500,
    }));
    let _answer = bench.send(Target::conversation("g"), "hello");
    assert!(bench.says().is_empty());
    assert_eq!(bench.core.wake_at(0), Some(500));
    assert_eq!(bench.core.tick(499), None);
    assert_eq!(bench.core.tick(500), Some(DisconnectReason::GoingAway));
}

#[test]
fn a_silent_server_is_pinged_and_then_left() {
    let mut bench = bench(|_| {});
    bench.settle();
    bench.now_ms = 30_000;
    assert!(matches!(bench.says().as_slice(), [Frame::Ping(_)]));
    assert_eq!(bench.core.tick(59_999), None);
    assert_eq!(bench.core.tick(60_000), Some(DisconnectReason::Silent));
}

#[test]
fn a_send_without_an_answer_ends_the_connection_to_be_sent_on_the_next() {
    let mut bench = bench(|_| {});
    bench.settle();
    let _answer = bench.send(Target::conversation("g"), "hello");
    let first = bench.said_sends().remove(0);
    assert_eq!(bench.core.tick(15_000), Some(DisconnectReason::Silent));
    bench.core.disconnected(&DisconnectReason::Silent);
    bench.connect();
    let again = bench.said_sends().remove(0);
    assert_eq!(again.client_id, first.client_id);
    assert_eq!(again.content, first.content);
}

#[test]
fn what_the_server_would_close_the_connection_for_is_not_sent() {
    let mut bench = bench(|_| {});
    bench.settle();
    let mut wrong = bench.send(Target::conversation("no/such"), "hello");
    let mut large = bench.send(Target::conversation("g"), &"x".repeat(65_537));
    assert!(bench.said_sends().is_empty());
    let told = |answer: &mut oneshot::Receiver<Result<Sent, SendError>>| match answer
        .try_recv()
        .unwrap()
    {
        Err(SendError::Refused { refusal, .. }) => refusal.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&mut wrong), ErrorCode::InvalidArgument);
    assert_eq!(told(&mut large), ErrorCode::ContentTooLarge);
}

#[test]
fn a_kick_is_told_with_its_reason() {
    let mut bench = bench(|_| {});
    bench.settle();
    let kicked = ServerFrame::Kicked(client::Kicked {
        reason: CloseReason::Kicked.into(),
        message: "signed out".to_owned(),
    });
    let reason = bench.core.frame(kicked, 0).unwrap();
    assert!(reason.to_string().contains("signed out"), "{reason}");
}
