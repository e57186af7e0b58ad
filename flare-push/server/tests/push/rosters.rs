//! Who is in a group, by the stream.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::message::{self, EventHeader, EventKind};
use flare_push_server::{
    application::{
        deliver::Deliver,
        ports::{Found, PortError, RosterSource},
        rosters::Rosters,
        signal::{Audience, PassOn, Signal},
    },
    domain::{
        event::{Conversation, MemberChange},
        roster::Roster,
    },
    handler::events::Events,
};
use flare_server_core::event_bus::{BatchHandler, BusRecord, Handled};
use prost::Message;
use tokio::sync::oneshot;

use crate::outside::{Outside, conversation, deliver, event};

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

    async fn find(&self, conversation: &Conversation) -> Result<Option<Found>, PortError> {
        Ok(self.fetch(conversation).await?.map(Found::Members))
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
    let signalled = tokio::spawn(async move { pass_on.signal(&signal).await });
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
