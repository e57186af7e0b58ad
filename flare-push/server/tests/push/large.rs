//! Events of large conversations.

use std::sync::Arc;

use bytes::Bytes;
use flare_push_server::{
    application::{
        ports::MembersHere,
        rosters::Rosters,
        signal::{Audience, PassOn, Signal},
    },
    domain::{
        event::{Event, Large, MemberChange},
        roster::Roster,
    },
};

use crate::outside::{Outside, conversation, deliver, event};

fn large(seq: u64) -> Event {
    Event {
        large: Some(Large::default()),
        ..event(seq, &[], MemberChange::None)
    }
}

fn changing(seq: u64, change: MemberChange) -> Event {
    Event {
        large: Some(Large {
            begins: false,
            changes_members: true,
        }),
        ..event(seq, &[], change)
    }
}

fn growing(seq: u64, joins: &str) -> Event {
    Event {
        large: Some(Large {
            begins: true,
            changes_members: true,
        }),
        ..event(seq, &[], MemberChange::Joined(vec![joins.to_owned()]))
    }
}

fn outside(member_seq: u64) -> Arc<Outside> {
    let outside = Arc::new(Outside::default());
    *outside.member_seq.lock().unwrap() = Some(member_seq);
    for (user, gateway, id) in [("alice", 0, 1), ("bob", 0, 2), ("carol", 1, 3)] {
        outside.connect(user, gateway, id, "desk");
    }
    outside
}

/// To which gateways, with which connections.
fn sent(outside: &Outside) -> Vec<(String, String, Vec<u64>)> {
    let text = |it: Bytes| String::from_utf8(it.to_vec()).unwrap();
    let all = outside.sent().into_iter();
    all.map(|(gateway, bytes, ids)| (text(bytes), gateway, ids))
        .collect()
}

fn one(event: &str, gateway: &str, ids: &[u64]) -> (String, String, Vec<u64>) {
    (event.to_owned(), gateway.to_owned(), ids.to_vec())
}

fn here(member_seq: u64) -> MembersHere {
    MembersHere {
        member_seq,
        named_all: false,
    }
}

#[tokio::test]
async fn each_interested_gateway_gets_an_event_once_and_nobody_is_looked_up() {
    let outside = outside(1);
    outside.interests(&["g0", "g1"], &[1]);
    let deliver = deliver(&outside);
    deliver.batch(&[large(5), large(6)]).await.unwrap();
    assert_eq!(sent(&outside), [one("e5", "g1", &[]), one("e6", "g1", &[])]);
    assert_eq!(
        outside.told(),
        [("g1".to_owned(), here(1)), ("g1".to_owned(), here(1))]
    );
    assert_eq!(*outside.lookups.lock().unwrap(), [Vec::<String>::new()]);
    assert_eq!((outside.asked_for_all(), outside.finds()), (1, 1));
    // Nobody is there, nobody gets it.
    outside.interests(&["g0", "g1"], &[]);
    deliver.batch(&[large(7)]).await.unwrap();
    assert!(sent(&outside).is_empty());
}

#[tokio::test]
async fn a_gateway_that_has_not_told_what_interests_it_gets_everything() {
    let outside = outside(1);
    let deliver = deliver(&outside);
    outside.interests(&["g1"], &[]);
    deliver.batch(&[large(5)]).await.unwrap();
    assert_eq!(sent(&outside), [one("e5", "g0", &[])]);
    // One that tells although presence does not hold it is believed.
    outside.interests(&["g1", "g2"], &[1]);
    deliver.batch(&[large(6)]).await.unwrap();
    assert_eq!(sent(&outside), [one("e6", "g0", &[]), one("e6", "g2", &[])]);
}

#[tokio::test]
async fn where_nobody_can_say_what_interests_whom_all_gateways_get_it() {
    let outside = outside(1);
    deliver(&outside).batch(&[large(5)]).await.unwrap();
    assert_eq!(sent(&outside), [one("e5", "g0", &[]), one("e5", "g1", &[])]);
    // Who is there at all is known by presence alone.
    *outside.fails.lock().unwrap() = true;
    assert!(deliver(&outside).batch(&[large(6)]).await.is_err());
}

#[tokio::test]
async fn whom_an_event_names_is_named_to_his_gateway_wherever_it_is() {
    let outside = outside(1);
    outside.interests(&["g0", "g1"], &[0]);
    let deliver = deliver(&outside);
    let joins = changing(5, MemberChange::Joined(vec!["carol".to_owned()]));
    let goes = changing(6, MemberChange::Gone("bob".to_owned()));
    deliver.batch(&[joins, goes, large(7)]).await.unwrap();
    assert_eq!(
        sent(&outside),
        [
            one("e5", "g0", &[]),
            one("e6", "g0", &[2]),
            one("e7", "g0", &[]),
            one("e5", "g1", &[3]),
        ]
    );
    let told: Vec<_> = outside.told().into_iter().collect();
    let of_g0: Vec<_> = told
        .iter()
        .filter(|(gateway, _)| gateway == "g0")
        .map(|(_, members)| *members)
        .collect();
    assert_eq!(
        of_g0,
        [here(1), here(5), here(6)],
        "each knows the one before"
    );
}

#[tokio::test]
async fn the_event_by_which_a_group_becomes_large_names_all_of_its_members() {
    let outside = outside(5);
    *outside.member_seq.lock().unwrap() = None;
    let members = ["alice", "bob"].map(|it| (it.to_owned(), 1));
    *outside.roster.lock().unwrap() = Some(Roster::new(1, members));
    outside.interests(&["g0", "g1"], &[]);
    let deliver = deliver(&outside);
    let before = event(2, &[], MemberChange::None);
    deliver.batch(&[before, growing(3, "carol")]).await.unwrap();
    assert_eq!(
        sent(&outside),
        [
            one("e2", "g0", &[1, 2]),
            one("e3", "g0", &[1, 2]),
            one("e3", "g1", &[3]),
        ]
    );
    let all = MembersHere {
        member_seq: 1,
        named_all: true,
    };
    assert_eq!(
        outside.told(),
        [("g0".to_owned(), all), ("g1".to_owned(), all)]
    );
    // From there on, by interest.
    outside.interests(&["g0", "g1"], &[0]);
    deliver.batch(&[large(4)]).await.unwrap();
    assert_eq!(sent(&outside), [one("e4", "g0", &[])]);
    assert_eq!(outside.told(), [("g0".to_owned(), here(3))]);
}

#[tokio::test]
async fn one_that_is_made_large_names_its_members_by_itself() {
    let outside = outside(1);
    outside.interests(&["g0", "g1"], &[]);
    deliver(&outside)
        .batch(&[growing(1, "carol")])
        .await
        .unwrap();
    assert_eq!(sent(&outside), [one("e1", "g1", &[3])]);
    let all = MembersHere {
        member_seq: 0,
        named_all: true,
    };
    assert_eq!(outside.told(), [("g1".to_owned(), all)]);
}

#[tokio::test]
async fn what_is_known_of_member_events_is_asked_for_anew_when_others_read_the_stream() {
    let outside = outside(4);
    outside.interests(&["g0"], &[0]);
    let deliver = deliver(&outside);
    deliver.batch(&[large(5)]).await.unwrap();
    *outside.member_seq.lock().unwrap() = Some(8);
    deliver.large.forget_all();
    deliver.batch(&[large(9)]).await.unwrap();
    let told: Vec<_> = outside.told().into_iter().map(|it| it.1).collect();
    // The other gateway has told nothing.
    assert_eq!(told, [here(4), here(4), here(8), here(8)]);
}

#[tokio::test]
async fn nobody_hears_of_typing_in_a_large_conversation() {
    let outside = outside(1);
    let pass_on = PassOn {
        presence: outside.clone(),
        gateways: outside.clone(),
        rosters: Rosters::new(outside.clone(), 1_000),
    };
    let signal = Signal {
        conversation: conversation(),
        user: "alice".to_owned(),
        audience: Audience::Participants,
        bytes: Bytes::from_static(b"typing"),
    };
    pass_on.signal(&signal).await.unwrap();
    assert!(outside.sent().is_empty());
    assert!(outside.lookups.lock().unwrap().is_empty());
}
