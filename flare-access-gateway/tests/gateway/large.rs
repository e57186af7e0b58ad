//! Large conversations: who gets what, and what the gateway tells of its interest.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use flare_core::codec::{ClientFrame, Codec, ServerFrame};
use flare_proto::{
    access::MembersHere,
    client::{ClientSignal, CloseReason, Ping, SyncHint, Viewing, client_signal},
    common::ErrorCode,
    message::{
        ConversationClass, Event, EventBody, EventHeader, EventKind, EventMember, MemberRemoved,
        MembersAdded, event_body::Body,
    },
};
use prost::Message;

use crate::{
    harness::{Client, Gateway, token},
    push::Push,
    services::{World, until},
};

/// What a client hears of the large conversation.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// Seqs of events.
    Events(Vec<u64>),
    /// A hint at its head.
    Head(u64),
    /// A hint at the inbox.
    Inbox,
}

/// A gateway whose hints follow each other closely.
async fn gateway() -> Gateway {
    Gateway::with(|config| config.head_hint_ms = 50).await
}

fn header(seq: u64, kind: EventKind, flags: u32) -> EventHeader {
    EventHeader {
        tenant_id: "default".to_owned(),
        conversation_id: "hall".to_owned(),
        seq,
        kind: kind.into(),
        flags,
        class: ConversationClass::Large.into(),
        ..EventHeader::default()
    }
}

fn encoded(header: EventHeader, body: Option<Body>) -> Bytes {
    let body = EventBody { body }.encode_to_vec().into();
    let header = Some(header);
    Event { header, body }.encode_to_vec().into()
}

fn message(seq: u64) -> Bytes {
    encoded(header(seq, EventKind::MessageCreated, 1), None)
}

fn added(seq: u64, user: &str) -> Bytes {
    let members = vec![EventMember {
        user_id: user.to_owned(),
        ..EventMember::default()
    }];
    let body = Body::MembersAdded(MembersAdded {
        members,
        ..MembersAdded::default()
    });
    encoded(header(seq, EventKind::MembersAdded, 2), Some(body))
}

fn removed(seq: u64, user: &str) -> Bytes {
    let body = Body::MemberRemoved(MemberRemoved {
        user_id: user.to_owned(),
    });
    encoded(header(seq, EventKind::MemberRemoved, 2), Some(body))
}

impl World {
    /// A user is in a large conversation.
    fn places(&self, user: &str, conversation: &str, joined_seq: u64, as_of: u64) {
        let mut large = self.large.lock().expect("locks");
        let place = (conversation.to_owned(), joined_seq, as_of);
        large.entry(user.to_owned()).or_default().push(place);
    }

    /// He is in none.
    fn has_no_place(&self, user: &str) {
        self.large.lock().expect("locks").remove(user);
    }
}

fn after(member_seq: u64) -> MembersHere {
    MembersHere {
        member_seq,
        named_all: false,
    }
}

impl Client {
    async fn views(&mut self, conversation: &str, active: bool) {
        self.send(ClientFrame::Signal(ClientSignal {
            conversation_id: conversation.to_owned(),
            signal: Some(client_signal::Signal::Viewing(Viewing { active })),
        }))
        .await;
    }

    /// What comes next, of this.
    async fn of_large(&mut self) -> Heard {
        match self.frame().await {
            ServerFrame::Deliver(deliver) => {
                let seq = |it: &Bytes| {
                    let event = Event::decode(it.clone()).expect("decodes");
                    event.header.expect("a header").seq
                };
                Heard::Events(deliver.events.iter().map(seq).collect())
            }
            ServerFrame::SyncHint(SyncHint {
                conversation_ids,
                head_seqs,
            }) => match conversation_ids.as_slice() {
                [] => Heard::Inbox,
                [id] if id == "hall" => Heard::Head(head_seqs[0]),
                other => panic!("another conversation: {other:?}"),
            },
            other => panic!("a delivery or a hint, not {other:?}"),
        }
    }

    /// Nothing waits for it: the answer to a ping comes first.
    async fn hears_nothing(&mut self) {
        self.send(ClientFrame::Ping(Ping { id: 77 })).await;
        match self.frame().await {
            ServerFrame::Pong(pong) => assert_eq!(pong.id, 77),
            other => panic!("nothing but a pong, not {other:?}"),
        }
    }
}

/// A member's device. What is told because it came before its conversation interested the gateway, is told.
async fn member(gateway: &Gateway, codec: Codec, user: &str, place: (u64, u64)) -> Client {
    let is_first = !gateway.world.router.knows("hall");
    gateway.world.places(user, "hall", place.0, place.1);
    let mut client = gateway.client(codec, user, "phone").await;
    until("it interests the gateway", || {
        gateway.world.router.knows("hall")
    })
    .await;
    if is_first {
        // One statement follows the other: what the first leads to has been done.
        gateway.world.places("fence", "fence", 1, 1);
        let _fence = gateway.client(codec, "fence", "phone").await;
        until("the next statement is told", || {
            gateway.world.router.knows("fence")
        })
        .await;
    }
    drained(&mut client).await;
    client
}

/// Takes in what waits for it.
async fn drained(client: &mut Client) {
    client.send(ClientFrame::Ping(Ping { id: 6 })).await;
    while !matches!(client.frame().await, ServerFrame::Pong(_)) {}
}

#[tokio::test]
async fn who_views_gets_events_and_the_others_hints_in_each_codec() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    let mut ben = member(&gateway, Codec::Json, "ben", (1, 1)).await;
    let mut cat = member(&gateway, Codec::Json, "cat", (1, 1)).await;
    let mut eve = gateway.client(Codec::Proto, "eve", "phone").await;
    drained(&mut ann).await;
    ann.views("hall", true).await;
    ben.views("hall", true).await;
    eve.views("hall", true).await;
    for client in [&mut ann, &mut ben, &mut eve] {
        client.hears_nothing().await;
    }
    push.put_large(message(2), after(1), vec![]).await;
    assert_eq!(ann.of_large().await, Heard::Events(vec![2]));
    assert_eq!(ben.of_large().await, Heard::Events(vec![2]));
    assert_eq!(cat.of_large().await, Heard::Head(2));
    eve.hears_nothing().await;
    // Of several events within the pause, the newest is told.
    push.put_large(message(3), after(1), vec![]).await;
    push.put_large(message(4), after(1), vec![]).await;
    let mut head = 0;
    while head < 4 {
        match cat.of_large().await {
            Heard::Head(seq) => head = seq,
            other => panic!("a hint, not {other:?}"),
        }
    }
    ben.views("hall", false).await;
    assert_eq!(ben.of_large().await, Heard::Events(vec![3]));
    assert_eq!(ben.of_large().await, Heard::Events(vec![4]));
    ben.hears_nothing().await;
    push.put_large(message(5), after(1), vec![]).await;
    assert_eq!(ben.of_large().await, Heard::Head(5));
}

#[tokio::test]
async fn the_device_that_sent_it_gets_no_event() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    let mut desk = gateway.client(Codec::Proto, "ann", "desk").await;
    for client in [&mut ann, &mut desk] {
        drained(client).await;
        client.views("hall", true).await;
        client.hears_nothing().await;
    }
    let own = EventHeader {
        sender_id: "ann".to_owned(),
        sender_device_id: "phone".to_owned(),
        ..header(2, EventKind::MessageCreated, 1)
    };
    push.put_large(encoded(own, None), after(1), vec![]).await;
    assert_eq!(desk.of_large().await, Heard::Events(vec![2]));
    ann.hears_nothing().await;
}

#[tokio::test]
async fn who_is_removed_gets_that_and_nothing_after_and_who_joins_gets_his_joining_on() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    let mut ben = gateway.client(Codec::Proto, "ben", "phone").await;
    for client in [&mut ann, &mut ben] {
        drained(client).await;
        client.views("hall", true).await;
        client.hears_nothing().await;
    }
    let id = ben.connection_id;
    push.put_large(message(2), after(1), vec![]).await;
    push.put_large(added(3, "ben"), after(1), vec![id]).await;
    push.put_large(message(4), after(3), vec![]).await;
    push.put_large(removed(5, "ben"), after(3), vec![id]).await;
    push.put_large(message(6), after(5), vec![]).await;
    for seq in 2..=6 {
        assert_eq!(ann.of_large().await, Heard::Events(vec![seq]));
    }
    for seq in 3..=5 {
        assert_eq!(ben.of_large().await, Heard::Events(vec![seq]));
    }
    ben.hears_nothing().await;
}

#[tokio::test]
async fn what_the_gateway_missed_is_asked_for_before_anybody_gets_more() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    let mut ben = member(&gateway, Codec::Proto, "ben", (1, 1)).await;
    for client in [&mut ann, &mut ben] {
        drained(client).await;
        client.views("hall", true).await;
        client.hears_nothing().await;
    }
    // Ben was removed at 5, which never came here.
    gateway.world.holds_large.send_replace(true);
    gateway.world.has_no_place("ben");
    gateway.world.has_no_place("ann");
    gateway.world.places("ann", "hall", 1, 5);
    push.put_large(message(6), after(5), vec![]).await;
    assert_eq!(ann.of_large().await, Heard::Inbox);
    assert_eq!(ben.of_large().await, Heard::Inbox);
    gateway.world.holds_large.send_replace(false);
    assert_eq!(ann.of_large().await, Heard::Head(0));
    assert_eq!(ben.of_large().await, Heard::Inbox, "he is out for certain");
    push.put_large(message(7), after(5), vec![]).await;
    assert_eq!(ann.of_large().await, Heard::Events(vec![7]));
    ben.hears_nothing().await;
}

#[tokio::test]
async fn a_client_is_let_in_when_its_conversations_are_known() {
    let gateway = gateway().await;
    gateway.world.places("ann", "hall", 1, 1);
    gateway.world.holds_large.send_replace(true);
    let mut client = gateway.open(Codec::Proto).await;
    let token = token("ann", "phone");
    let connecting = client.connect(&token, "phone");
    let knowing = async {
        until("she is asked for", || {
            gateway.world.large_questions.load(Ordering::SeqCst) > 0
        })
        .await;
        assert_eq!(gateway.world.online.standing().len(), 1, "presence first");
        gateway.world.holds_large.send_replace(false);
    };
    let (_, ()) = futures::join!(connecting, knowing);
}

#[tokio::test]
async fn a_client_that_was_let_in_before_is_told_when_they_are() {
    let gateway = gateway().await;
    gateway.world.places("ann", "hall", 1, 1);
    gateway.world.session_is_away.store(true, Ordering::SeqCst);
    let mut ann = gateway.client(Codec::Proto, "ann", "phone").await;
    ann.hears_nothing().await;
    gateway.world.session_is_away.store(false, Ordering::SeqCst);
    assert_eq!(ann.of_large().await, Heard::Head(0));
}

#[tokio::test]
async fn a_change_that_has_no_place_yet_is_waited_for() {
    let gateway = gateway().await;
    gateway.world.places("ann", "hall", 1, 1);
    let incomplete = &gateway.world.incomplete;
    incomplete.lock().expect("locks").insert("ann".to_owned());
    let _ann = gateway.client(Codec::Proto, "ann", "phone").await;
    assert_eq!(gateway.world.large_questions.load(Ordering::SeqCst), 2);
    until("it interests the gateway", || {
        gateway.world.router.knows("hall")
    })
    .await;
}

#[tokio::test]
async fn what_comes_before_the_interest_is_told_is_made_up_for_by_a_hint() {
    let gateway = gateway().await;
    let router = &gateway.world.router;
    router.holds_answers.send_replace(true);
    gateway.world.places("ann", "hall", 1, 1);
    let mut ann = gateway.client(Codec::Proto, "ann", "phone").await;
    ann.hears_nothing().await;
    router.holds_answers.send_replace(false);
    assert_eq!(ann.of_large().await, Heard::Head(0));
}

#[tokio::test]
async fn interest_lasts_as_long_as_a_member_is_connected_and_is_told_again_when_it_is_lost() {
    let gateway = gateway().await;
    let router = &gateway.world.router;
    let ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    let ben = member(&gateway, Codec::Proto, "ben", (1, 1)).await;
    let streams = router.streams.load(Ordering::SeqCst);
    router.interested.lock().expect("locks").clear();
    router.break_streams();
    until("it is told again", || {
        router.knows("hall") && router.streams.load(Ordering::SeqCst) > streams
    })
    .await;
    drop(ann);
    drop(ben);
    until("nobody is there", || !router.knows("hall")).await;
}

#[tokio::test]
async fn an_event_that_interests_nobody_goes_nowhere_and_is_taken_back() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut eve = gateway.client(Codec::Proto, "eve", "phone").await;
    eve.views("hall", true).await;
    eve.hears_nothing().await;
    push.put_large(message(7), after(1), vec![]).await;
    eve.hears_nothing().await;
    until("it is taken back", || {
        let ended = gateway.world.router.ended.lock().expect("locks");
        ended.iter().any(|it| it == "hall")
    })
    .await;
}

/// One joined while push-server's stream was broken: nothing else here tells of it.
#[tokio::test]
async fn all_are_asked_for_again_when_a_stream_opens() {
    let gateway = gateway().await;
    let mut ann = gateway.client(Codec::Proto, "ann", "phone").await;
    gateway.world.places("ann", "hall", 3, 3);
    let _push = Push::open(&gateway).await;
    assert_eq!(ann.of_large().await, Heard::Inbox);
    assert_eq!(ann.of_large().await, Heard::Head(0));
}

#[tokio::test]
async fn all_are_asked_for_again_when_presence_has_lost_them() {
    let gateway = gateway().await;
    let mut ann = gateway.client(Codec::Proto, "ann", "phone").await;
    gateway.world.places("ann", "hall", 3, 3);
    gateway.world.online.forget();
    assert_eq!(ann.of_large().await, Heard::Inbox);
    assert_eq!(ann.of_large().await, Heard::Head(0));
}

#[tokio::test]
async fn a_connection_views_so_many_conversations() {
    let gateway = Gateway::with(|config| config.max_viewed = 1).await;
    let mut ann = gateway.client(Codec::Json, "ann", "phone").await;
    ann.views("one", true).await;
    ann.views("two", true).await;
    let (id, code, field) = ann.refusal().await;
    assert_eq!(
        (id, code, field.as_str()),
        (0, ErrorCode::LimitExceeded, "viewing")
    );
    ann.views("one", false).await;
    ann.views("two", true).await;
    ann.hears_nothing().await;
}

#[tokio::test]
async fn whoever_there_is_no_room_for_goes_elsewhere() {
    let gateway = Gateway::with(|config| config.max_large_places = 1).await;
    gateway.world.places("ann", "hall", 1, 1);
    let _ann = gateway.client(Codec::Proto, "ann", "phone").await;
    gateway.world.places("ben", "hall", 1, 1);
    let mut ben = gateway.client(Codec::Proto, "ben", "phone").await;
    ben.closed_for(CloseReason::GoingAway).await;
}

/// A member event that does not decode is one that is missing.
#[tokio::test]
async fn a_member_event_that_cannot_be_read_is_asked_about() {
    let gateway = gateway().await;
    let mut push = Push::open(&gateway).await;
    let mut ann = member(&gateway, Codec::Proto, "ann", (1, 1)).await;
    drained(&mut ann).await;
    ann.views("hall", true).await;
    ann.hears_nothing().await;
    let unreadable = Event {
        header: Some(header(2, EventKind::MemberRemoved, 2)),
        body: vec![0xff; 3].into(),
    };
    let asked = gateway.world.large_questions.load(Ordering::SeqCst);
    push.put_large(unreadable.encode_to_vec().into(), after(1), vec![])
        .await;
    assert_eq!(ann.of_large().await, Heard::Events(vec![2]));
    gateway.world.has_no_place("ann");
    push.put_large(message(3), after(2), vec![]).await;
    assert_eq!(ann.of_large().await, Heard::Inbox);
    until("she is asked for", || {
        gateway.world.large_questions.load(Ordering::SeqCst) > asked
    })
    .await;
    until("she is out", || !gateway.world.router.knows("hall")).await;
    drained(&mut ann).await;
    push.put_large(message(4), after(2), vec![]).await;
    ann.hears_nothing().await;
}
