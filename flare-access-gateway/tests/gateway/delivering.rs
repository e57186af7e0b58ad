//! What other services put out.

use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    access::{Delivery, delivery},
    client::{
        Ack, ClientSignal, CloseReason, Position, Signal, SyncHint, Typing, client_signal, signal,
    },
    common::ErrorCode,
    message::Event,
};
use prost::Message;

use crate::{
    harness::{Client, Gateway, Heard},
    push::Push,
    services::until,
    wire::event,
};

fn seqs(events: &[bytes::Bytes]) -> Vec<u64> {
    let header = |it: &bytes::Bytes| {
        Event::decode(it.clone())
            .expect("decodes")
            .header
            .expect("a header")
    };
    events.iter().map(|it| header(it).seq).collect()
}

async fn delivered(client: &mut Client, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    while all.len() < count {
        match client.frame().await {
            ServerFrame::Deliver(deliver) => all.extend(seqs(&deliver.events)),
            other => panic!("a delivery, not {other:?}"),
        }
    }
    all
}

#[tokio::test]
async fn events_reach_both_codecs_in_order_and_the_gone_are_named() {
    let gateway = Gateway::start().await;
    let mut push = Push::open(&gateway).await;
    let mut proto = gateway.client(Codec::Proto, "alice", "phone").await;
    let mut json = gateway.client(Codec::Json, "bob", "phone").await;
    let targets = vec![proto.connection_id, json.connection_id, 999];
    for seq in 1..=20 {
        assert_eq!(
            push.put(
                delivery::Payload::Event(event("room", seq, 10)),
                targets.clone()
            )
            .await,
            [999]
        );
    }
    let expected: Vec<u64> = (1..=20).collect();
    assert_eq!(delivered(&mut proto, 20).await, expected);
    assert_eq!(delivered(&mut json, 20).await, expected);
    push.other_incarnation = Some("another".to_owned());
    assert_eq!(
        push.put(
            delivery::Payload::Event(event("room", 21, 10)),
            targets.clone()
        )
        .await,
        targets
    );
}

#[tokio::test]
async fn a_signal_and_a_hint_reach_their_targets_and_an_event_that_is_none_hurts_nobody() {
    let gateway = Gateway::start().await;
    let mut push = Push::open(&gateway).await;
    let mut client = gateway.client(Codec::Json, "alice", "phone").await;
    let rubbish = delivery::Payload::Event(vec![0xff; 9].into());
    assert!(
        push.put(rubbish, vec![client.connection_id])
            .await
            .is_empty()
    );
    let typing = Signal {
        conversation_id: "room".to_owned(),
        user_id: "bob".to_owned(),
        signal: Some(signal::Signal::Typing(Typing { active: true })),
    };
    push.put(
        delivery::Payload::Signal(typing.clone()),
        vec![client.connection_id],
    )
    .await;
    assert!(matches!(client.frame().await, ServerFrame::Signal(given) if given == typing));
    let hint = SyncHint::default();
    push.put(
        delivery::Payload::SyncHint(hint.clone()),
        vec![client.connection_id],
    )
    .await;
    assert!(matches!(client.frame().await, ServerFrame::SyncHint(given) if given == hint));
}

/// Whoever opens one knows nothing of what was lost before: on an earlier one, or while there was none.
#[tokio::test]
async fn every_stream_of_deliveries_tells_everybody_to_sync() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for _ in 0..2 {
        let mut push = Push::open(&gateway).await;
        match client.frame().await {
            ServerFrame::SyncHint(hint) => assert!(hint.conversation_ids.is_empty()),
            other => panic!("a hint, not {other:?}"),
        }
        let event = delivery::Payload::Event(event("room", 1, 10));
        push.put(event, vec![client.connection_id]).await;
        assert_eq!(delivered(&mut client, 1).await, [1]);
    }
}

#[tokio::test]
async fn a_slow_reader_is_told_to_sync_and_then_closed() {
    let gateway = Gateway::with(|config| config.outbound_bytes = 300_000).await;
    let mut push = Push::open(&gateway).await;
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    // Until the second overflow the gateway takes all; what the sockets buffer is the system's affair.
    let mut gone = Vec::new();
    let mut seq = 0;
    while gone.is_empty() {
        seq += 1;
        assert!(seq < 2_000, "never closed");
        gone = push
            .put(
                delivery::Payload::Event(event("room", seq, 50_000)),
                vec![client.connection_id],
            )
            .await;
    }
    let mut hinted = false;
    let mut received = Vec::new();
    loop {
        match client.hear().await {
            Heard::Frame(ServerFrame::SyncHint(hint)) => {
                assert_eq!(hint.conversation_ids, ["room"]);
                hinted = true;
            }
            Heard::Frame(ServerFrame::Deliver(deliver)) => received.extend(seqs(&deliver.events)),
            Heard::Frame(ServerFrame::Kicked(kicked)) => {
                assert_eq!(kicked.reason(), CloseReason::SlowReader);
            }
            Heard::Frame(other) => panic!("{other:?}"),
            Heard::Closed(_) => break,
        }
    }
    let contiguous = received
        .iter()
        .zip(1..)
        .all(|(seq, expected)| *seq == expected);
    assert!(
        contiguous || hinted,
        "events were left out, and nobody said so: {received:?}"
    );
    gateway.until_gone(client.connection_id).await;
}

#[tokio::test]
async fn a_reader_that_is_slow_for_a_moment_is_told_what_to_sync_and_stays() {
    let gateway = Gateway::with(|config| config.outbound_bytes = 300_000).await;
    let mut push = Push::open(&gateway).await;
    let mut client = gateway.client(Codec::Json, "alice", "phone").await;
    // More than may wait, in one batch, which no reader is quick enough for.
    let deliveries = (1..=7).map(|seq| Delivery {
        payload: Some(delivery::Payload::Event(event("room", seq, 60_000))),
        members: None,
        connection_ids: vec![client.connection_id],
    });
    let batch = push.batch(1, deliveries.collect());
    push.batches.send(batch).await.expect("sends");
    let outcome = push
        .outcomes
        .message()
        .await
        .expect("answers")
        .expect("an outcome");
    assert!(outcome.gone_connection_ids.is_empty());
    match client.frame().await {
        ServerFrame::SyncHint(hint) => assert_eq!(hint.conversation_ids, ["room"]),
        other => panic!("a hint first, not {other:?}"),
    }
    // What came after the overflow is delivered.
    assert_eq!(delivered(&mut client, 2).await, [6, 7]);
    client.say(2, "room", "a1").await;
    assert!(matches!(client.frame().await, ServerFrame::SendAck(_)));
}

#[tokio::test]
async fn what_is_delivered_before_the_connected_comes_after_it() {
    let gateway = Gateway::start().await;
    gateway.world.online.holds_registrations.send_replace(true);
    let mut push = Push::open(&gateway).await;
    let mut client = gateway.open(Codec::Proto).await;
    let token = crate::harness::token("alice", "*");
    let connecting = client.connect(&token, "phone");
    let delivering = async {
        let registered = &gateway.world.online.registered;
        until("registered", || {
            !registered.lock().expect("locks").is_empty()
        })
        .await;
        let id = registered
            .lock()
            .expect("locks")
            .keys()
            .copied()
            .next()
            .expect("one");
        assert!(
            push.put(delivery::Payload::Event(event("room", 1, 10)), vec![id])
                .await
                .is_empty()
        );
        gateway.world.online.holds_registrations.send_replace(false);
    };
    tokio::join!(connecting, delivering);
    assert_eq!(delivered(&mut client, 1).await, [1]);
}

#[tokio::test]
async fn acknowledged_positions_are_stored_gathered_and_again_after_a_failure() {
    let gateway = Gateway::start().await;
    let world = &gateway.world;
    world
        .session_is_away
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let mut client = gateway.client(Codec::Proto, "alice", "phone").await;
    for seq in [3, 7, 5] {
        let positions = vec![Position {
            conversation_id: "room".to_owned(),
            seq,
        }];
        client.send(ClientFrame::Ack(Ack { positions })).await;
    }
    world
        .session_is_away
        .store(false, std::sync::atomic::Ordering::SeqCst);
    until("stored", || {
        world
            .positions
            .lock()
            .expect("locks")
            .iter()
            .any(|it| it.seq == 7)
    })
    .await;
    let stored = world.positions.lock().expect("locks").clone();
    let last = stored.last().expect("stored");
    assert_eq!(
        (
            &*last.tenant_id,
            &*last.user_id,
            &*last.device_id,
            &*last.conversation_id,
            last.seq
        ),
        ("default", "alice", "phone", "room", 7)
    );
    assert!(stored.iter().map(|it| it.seq).is_sorted());
}

#[tokio::test]
async fn typing_is_passed_on_and_not_too_often() {
    let gateway = Gateway::with(|config| config.signals_per_s = 1).await;
    let mut client = gateway.client(Codec::Json, "alice", "phone").await;
    for _ in 0..2 {
        client
            .send(ClientFrame::Signal(ClientSignal {
                conversation_id: "room".to_owned(),
                signal: Some(client_signal::Signal::Typing(Typing { active: true })),
            }))
            .await;
    }
    assert_eq!(client.refusal().await.1, ErrorCode::RateLimited);
    let signals = &gateway.world.signals;
    until("passed on", || !signals.lock().expect("locks").is_empty()).await;
    let passed = signals.lock().expect("locks").clone();
    let [item] = &passed[..] else {
        panic!("one signal")
    };
    let signal = item.signal.clone().expect("a signal");
    assert_eq!(
        (&*item.tenant_id, &*signal.user_id, &*signal.conversation_id),
        ("default", "alice", "room")
    );
}
