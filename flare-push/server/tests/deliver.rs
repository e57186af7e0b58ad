//! Delivery with the outside played by the test.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::message::{self, EventHeader, EventKind};
use flare_push_server::{
    application::{
        deliver::Deliver,
        ports::{
            Connection, Delivery, Gateway, Gateways, Located, Payload, PortError, Presence,
            RosterSource,
        },
        rosters::Rosters,
        signal::{Audience, PassOn, Signal},
    },
    domain::{
        event::{Conversation, Event, MemberChange},
        roster::Roster,
    },
    handler::events::Events,
};
use flare_server_core::{
    event_bus::{BatchHandler, BusRecord, Handled},
    telemetry::Spans,
};
use prost::Message;
use tokio::sync::oneshot;

type Sent = (String, Bytes, Vec<u64>);

/// Gateway, id, device.
type Online = (usize, u64, String);

/// Two gateways, with users' connections.
#[derive(Default)]
struct Outside {
    online: Mutex<HashMap<String, Vec<Online>>>,
    lookups: Mutex<Vec<Vec<String>>>,
    roster: Mutex<Option<Roster>>,
    sent: Mutex<Vec<Sent>>,
    fails: Mutex<bool>,
}

#[async_trait]
impl Presence for Outside {
    async fn lookup(&self, users: &[(String, String)]) -> Result<Located, PortError> {
        if *self.fails.lock().unwrap() {
            return Err(PortError {
                what: "presence",
                why: "away".to_owned(),
            });
        }
        self.lookups
            .lock()
            .unwrap()
            .push(users.iter().map(|it| it.1.clone()).collect());
        let online = self.online.lock().unwrap();
        let gateways = ["g0", "g1"].map(|it| Gateway {
            incarnation: it.to_owned(),
            endpoint: String::new(),
        });
        let users = users
            .iter()
            .map(|(_, user)| {
                let connections = online.get(user).cloned().unwrap_or_default();
                connections
                    .into_iter()
                    .map(|(gateway, id, device)| Connection {
                        gateway,
                        id,
                        device,
                    })
                    .collect()
            })
            .collect();
        Ok(Located {
            users,
            gateways: gateways.into(),
        })
    }
}

#[async_trait]
impl RosterSource for Outside {
    async fn fetch(&self, _: &Conversation) -> Result<Option<Roster>, PortError> {
        Ok(self.roster.lock().unwrap().clone())
    }
}

#[async_trait]
impl Gateways for Outside {
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let (Payload::Event(bytes) | Payload::Signal(bytes)) = delivery.payload;
            let mut connections = delivery.connections;
            connections.sort_unstable();
            self.sent
                .lock()
                .unwrap()
                .push((gateway.incarnation.clone(), bytes, connections));
        }
    }
}

impl Outside {
    fn connect(&self, user: &str, gateway: usize, id: u64, device: &str) {
        self.online
            .lock()
            .unwrap()
            .entry(user.to_owned())
            .or_default()
            .push((gateway, id, device.to_owned()));
    }

    fn sent(&self) -> Vec<Sent> {
        let mut sent = std::mem::take(&mut *self.sent.lock().unwrap());
        sent.sort();
        sent
    }
}

fn deliver(outside: &Arc<Outside>) -> Deliver {
    Deliver {
        presence: outside.clone(),
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
        spans: Spans::default(),
    }
}

fn conversation() -> Conversation {
    Conversation {
        tenant: "default".to_owned(),
        id: "c".to_owned(),
    }
}

fn event(seq: u64, participants: &[&str], change: MemberChange) -> Event {
    Event {
        conversation: conversation(),
        seq,
        trace_id: Bytes::new(),
        sender: "alice".to_owned(),
        sender_device: "phone".to_owned(),
        participants: participants.iter().map(|it| (*it).to_owned()).collect(),
        change,
        bytes: Bytes::from(format!("e{seq}")),
    }
}

#[tokio::test]
async fn every_device_but_the_origin_gets_it_each_gateway_once() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    outside.connect("alice", 1, 2, "desk");
    outside.connect("bob", 0, 3, "phone");
    outside.connect("bob", 0, 4, "desk");
    outside.connect("carol", 0, 5, "phone");
    let events = [
        event(1, &["alice", "bob"], MemberChange::None),
        event(2, &["alice", "bob"], MemberChange::None),
    ];
    deliver(&outside).batch(&events).await.unwrap();
    let to = |gateway: &str, event: &'static str, ids: &[u64]| {
        (
            gateway.to_owned(),
            Bytes::from_static(event.as_bytes()),
            ids.to_vec(),
        )
    };
    assert_eq!(
        outside.sent(),
        [
            to("g0", "e1", &[3, 4]),
            to("g0", "e2", &[3, 4]),
            to("g1", "e1", &[2]),
            to("g1", "e2", &[2])
        ]
    );
    assert_eq!(
        outside.lookups.lock().unwrap().len(),
        1,
        "presence is asked once a batch"
    );
}

#[tokio::test]
async fn an_event_that_came_over_no_link_goes_to_all_devices_of_its_sender() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "phone");
    let by_api = Event {
        sender_device: String::new(),
        ..event(1, &["alice", "bob"], MemberChange::None)
    };
    deliver(&outside).batch(&[by_api]).await.unwrap();
    assert_eq!(outside.sent().len(), 1);
}

#[tokio::test]
async fn a_group_follows_the_member_events_of_its_stream() {
    let outside = Arc::new(Outside::default());
    for (user, id) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        outside.connect(user, 0, id, "desk");
    }
    *outside.roster.lock().unwrap() = Some(Roster::new(
        1,
        [("alice".to_owned(), 1), ("bob".to_owned(), 1)],
    ));
    let deliver = deliver(&outside);
    let events = [
        event(2, &[], MemberChange::None),
        event(3, &[], MemberChange::Joined(vec!["carol".to_owned()])),
        event(4, &[], MemberChange::Gone("bob".to_owned())),
        event(5, &[], MemberChange::None),
    ];
    deliver.batch(&events).await.unwrap();
    let ids: Vec<Vec<u64>> = outside.sent().into_iter().map(|it| it.2).collect();
    assert_eq!(ids, [vec![1, 2], vec![1, 2, 3], vec![1, 2, 3], vec![1, 3]]);
    // The next batch goes on from there.
    deliver
        .batch(&[event(6, &[], MemberChange::None)])
        .await
        .unwrap();
    assert_eq!(outside.sent()[0].2, [1, 3]);
}

/// A record of the stream: a message of the group.
fn record(seq: u64) -> BusRecord {
    let conversation = conversation();
    let header = EventHeader {
        tenant_id: conversation.tenant,
        conversation_id: conversation.id,
        seq,
        kind: EventKind::MessageCreated.into(),
        ..EventHeader::default()
    };
    let event = message::Event {
        header: Some(header),
        ..message::Event::default()
    };
    BusRecord {
        key: Bytes::new(),
        payload: event.encode_to_vec().into(),
        position: seq,
    }
}

/// Another process is given the group's records for a while, the one by which bob goes among them.
#[tokio::test]
async fn a_roster_is_not_kept_while_others_are_given_the_stream() {
    let outside = Arc::new(Outside::default());
    outside.connect("alice", 0, 1, "desk");
    outside.connect("bob", 0, 2, "desk");
    let [alice, bob] = ["alice", "bob"].map(|it| (it.to_owned(), 1));
    *outside.roster.lock().unwrap() = Some(Roster::new(1, [alice.clone(), bob]));
    let events = Events {
        deliver: deliver(&outside),
    };
    assert_eq!(events.handle(&[record(2)]).await, Handled::Ok);
    assert_eq!(outside.sent()[0].2, [1, 2]);
    *outside.roster.lock().unwrap() = Some(Roster::new(3, [alice]));
    events.reassigned().await;
    assert_eq!(events.handle(&[record(4)]).await, Handled::Ok);
    assert_eq!(outside.sent()[0].2, [1]);
}

#[tokio::test]
async fn nothing_is_delivered_when_nobody_can_say_who_is_online() {
    let outside = Arc::new(Outside::default());
    outside.connect("bob", 0, 1, "desk");
    *outside.fails.lock().unwrap() = true;
    let events = [event(1, &["alice", "bob"], MemberChange::None)];
    assert!(
        deliver(&outside).batch(&events).await.is_err(),
        "the batch comes again"
    );
    assert!(outside.sent().is_empty());
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
    let pass_on = PassOn {
        presence: outside.clone(),
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
    };
    let signal = |user: &str, audience| Signal {
        conversation: conversation(),
        user: user.to_owned(),
        audience,
        bytes: Bytes::from_static(b"typing"),
    };
    pass_on
        .signal(signal("alice", Audience::Participants))
        .await
        .unwrap();
    assert_eq!(outside.sent()[0].2, [2]);
    pass_on
        .signal(signal("mallory", Audience::Participants))
        .await
        .unwrap();
    assert!(outside.sent().is_empty());
    outside.connect("alice", 0, 4, "desk");
    let own = Audience::OwnDevices {
        except_device: "phone".to_owned(),
    };
    pass_on.signal(signal("alice", own)).await.unwrap();
    assert_eq!(outside.sent()[0].2, [4]);
}

/// A source whose first answer is on its way until it is let go.
struct Slow {
    roster: Roster,
    first: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
}

#[async_trait]
impl RosterSource for Slow {
    async fn fetch(&self, _: &Conversation) -> Result<Option<Roster>, PortError> {
        let roster = self.roster.clone();
        let first = self.first.lock().unwrap().take();
        if let Some((asked, go)) = first {
            asked.send(()).unwrap();
            go.await.unwrap();
        }
        Ok(Some(roster))
    }
}

#[tokio::test]
async fn a_roster_that_comes_late_for_a_signal_undoes_no_member_event() {
    let outside = Arc::new(Outside::default());
    for (user, id) in [("alice", 1), ("bob", 2), ("mallory", 3)] {
        outside.connect(user, 0, id, "desk");
    }
    let (asked, was_asked) = oneshot::channel();
    let (let_go, go) = oneshot::channel();
    let members = ["alice", "bob", "mallory"].map(|it| (it.to_owned(), 1));
    let source = Arc::new(Slow {
        roster: Roster::new(1, members),
        first: Mutex::new(Some((asked, go))),
    });
    let rosters = Rosters::new(source, 1_000);
    let pass_on = PassOn {
        presence: outside.clone(),
        gateways: outside.clone(),
        rosters: rosters.clone(),
    };
    let signal = Signal {
        conversation: conversation(),
        user: "alice".to_owned(),
        audience: Audience::Participants,
        bytes: Bytes::from_static(b"typing"),
    };
    let signalled = tokio::spawn(async move { pass_on.signal(signal).await });
    was_asked.await.unwrap();
    let deliver = Deliver {
        rosters,
        ..deliver(&outside)
    };
    let gone = event(2, &[], MemberChange::Gone("mallory".to_owned()));
    deliver.batch(&[gone]).await.unwrap();
    let_go.send(()).unwrap();
    signalled.await.unwrap().unwrap();
    outside.sent();

    deliver
        .batch(&[event(3, &[], MemberChange::None)])
        .await
        .unwrap();
    let sent = outside.sent();
    assert_eq!(
        sent,
        [("g0".to_owned(), Bytes::from_static(b"e3"), vec![1, 2])],
        "mallory was removed"
    );
}
