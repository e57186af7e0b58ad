//! Signals to devices, and what is told of those that are lost.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use flare_proto::{
    client::{self, ReadMark, Typing, signal},
    push::{
        OwnDevices, Participants, SignalItem, SignalRequest,
        push_scheduler_service_server::PushSchedulerService, signal_item,
    },
};
use flare_push_server::{
    application::{
        missed::Missed,
        rosters::Rosters,
        signal::{Audience, PassOn, Signal},
    },
    domain::roster::Roster,
    handler::grpc::Grpc,
};
use flare_server_core::shutdown::Shutdown;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tonic::Request;

use crate::outside::{Outside, Sent, conversation};

const SOON: Duration = Duration::from_secs(20);

fn pass_on(outside: &Arc<Outside>) -> PassOn {
    PassOn {
        presence: outside.clone(),
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
    }
}

fn signal(user: &str, audience: Audience) -> Signal {
    Signal {
        conversation: conversation(),
        user: user.to_owned(),
        audience,
        bytes: Bytes::from_static(b"signal"),
    }
}

fn own_devices() -> Audience {
    Audience::OwnDevices {
        except_device: "phone".to_owned(),
    }
}

#[tokio::test]
async fn a_signal_reaches_the_others_and_one_of_a_stranger_reaches_nobody() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    outside.connect("bob", 0, 2, "phone");
    outside.connect("mallory", 0, 3, "phone");
    *outside.roster.lock().unwrap() = Some(Roster::new(
        1,
        [("alice".to_owned(), 1), ("bob".to_owned(), 1)],
    ));
    let pass_on = pass_on(&outside);
    pass_on
        .signal(&signal("alice", Audience::Participants))
        .await
        .unwrap();
    assert_eq!(outside.sent()[0].2, [2]);
    pass_on
        .signal(&signal("mallory", Audience::Participants))
        .await
        .unwrap();
    assert!(outside.sent().is_empty());
    outside.connect("alice", 0, 4, "desk");
    let own = Audience::OwnDevices {
        except_device: "phone".to_owned(),
    };
    pass_on.signal(&signal("alice", own)).await.unwrap();
    assert_eq!(outside.sent()[0].2, [4]);
}

/// What a session and a gateway hand over: a read mark for its user's other devices, or somebody's typing.
fn item(user: &str, is_own: bool) -> SignalItem {
    let (kind, audience) = if is_own {
        let own = OwnDevices {
            except_device_id: "phone".to_owned(),
        };
        let mark = signal::Signal::Read(ReadMark { seq: 7 });
        (mark, signal_item::Audience::OwnDevices(own))
    } else {
        let typing = signal::Signal::Typing(Typing { active: true });
        let all = signal_item::Audience::Participants(Participants {});
        (typing, all)
    };
    SignalItem {
        tenant_id: "default".to_owned(),
        signal: Some(client::Signal {
            conversation_id: "c".to_owned(),
            user_id: user.to_owned(),
            signal: Some(kind),
        }),
        audience: Some(audience),
    }
}

/// Hands items over to a service whose queue is full; at most `max_users` are remembered.
async fn dropped(items: Vec<SignalItem>, max_users: usize) -> Arc<Missed> {
    let (queue, _full) = mpsc::channel(1);
    queue
        .try_send(signal("somebody", Audience::Participants))
        .unwrap();
    let missed = Arc::new(Missed::new(max_users));
    let grpc = Grpc {
        queue,
        missed: Arc::clone(&missed),
    };
    let request = SignalRequest {
        context: None,
        items,
    };
    grpc.signal(Request::new(request)).await.unwrap();
    missed
}

/// Tells who missed something, until the shutdown.
fn telling(missed: Arc<Missed>, pass_on: PassOn) -> (Shutdown, JoinHandle<()>) {
    let shutdown = Shutdown::new();
    let draining = shutdown.clone();
    let task = tokio::spawn(async move { missed.tell(&pass_on, &draining).await });
    (shutdown, task)
}

async fn sent(outside: &Outside) -> Vec<Sent> {
    let sent = async {
        loop {
            let sent = outside.sent();
            if !sent.is_empty() {
                return sent;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, sent).await.expect("something is sent")
}

fn hint(gateway: &str, connections: &[u64]) -> Sent {
    let hint = Bytes::from_static(b"hint");
    (gateway.to_owned(), hint, connections.to_vec())
}

#[tokio::test]
async fn whose_devices_miss_his_own_doing_for_want_of_room_is_told_to_sync_and_nobody_else() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    outside.connect("alice", 1, 2, "desk");
    outside.connect("bob", 0, 3, "phone");
    let items = vec![item("bob", false), item("alice", true), item("alice", true)];
    let missed = dropped(items, 10).await;
    let (shutdown, task) = telling(missed, pass_on(&outside));
    let mut all = sent(&outside).await;
    while all.len() < 2 {
        all.extend(sent(&outside).await);
    }
    assert_eq!(all, [hint("g0", &[1]), hint("g1", &[2])]);
    shutdown.drain();
    timeout(SOON, task).await.unwrap().unwrap();
    assert!(outside.sent().is_empty(), "each is told once");
    assert_eq!(outside.started_over(), 0);
}

#[tokio::test]
async fn whose_devices_miss_his_own_doing_for_want_of_presence_is_told_to_sync_when_it_is_back() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 2, "desk");
    *outside.fails.lock().unwrap() = true;
    let missed = Arc::new(Missed::new(10));
    let (queue, signals) = mpsc::channel(1);
    queue.send(signal("alice", own_devices())).await.unwrap();
    drop(queue);
    let running = pass_on(&outside);
    running.run(signals, &missed, &Shutdown::new()).await;
    let (shutdown, task) = telling(missed, running);
    let asked = async {
        while outside.refused() < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, asked).await.expect("it is asked again");
    assert!(outside.sent().is_empty());
    *outside.fails.lock().unwrap() = false;
    assert_eq!(sent(&outside).await, [hint("g0", &[2])]);
    shutdown.drain();
    timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn where_more_miss_something_than_are_remembered_everybody_is_told() {
    let outside = Arc::new(Outside::default());
    let items = vec![item("alice", true), item("bob", true)];
    let missed = dropped(items, 1).await;
    let (shutdown, task) = telling(missed, pass_on(&outside));
    let told = async {
        while outside.started_over() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, told).await.expect("in time");
    shutdown.drain();
    timeout(SOON, task).await.unwrap().unwrap();
    assert_eq!(outside.started_over(), 1);
    assert!(outside.sent().is_empty());
}
