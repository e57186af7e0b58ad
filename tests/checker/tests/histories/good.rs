//! Histories that look odd and break nothing.

use flare_checker::{
    Client, ClientEvent, Counts, Intent, Kind, MemberChange, SyncAnswer, Target, Via, body_hash,
};

use crate::story::{ALICE, BOB, CAROL, PAD, Story, as_delivered, assert_kept, joined, removed};

#[test]
fn a_lost_ack_is_answered_by_the_first_receipt() {
    assert_kept(|story| {
        story.push(ALICE, ClientEvent::Connected);
        story.intend(ALICE, "a1", "g");
        story.push(ALICE, ClientEvent::Disconnected);
        story.push(ALICE, ClientEvent::Connected);
        story.resend(ALICE, "a1");
        story.ack(ALICE, "a1", "g", 1).duplicate = true;
        story.resend(ALICE, "a1");
        story.ack(ALICE, "a1", "g", 1).duplicate = true;
        story.stored("g", 1, "alice", "a1");
    });
}

#[test]
fn an_intent_without_an_answer_may_be_stored_or_not() {
    assert_kept(|story| {
        story.all_senders_recorded = true;
        story.intend(ALICE, "a1", "g");
        story.intend(ALICE, "a2", "g");
        story.stored("g", 1, "alice", "a1");
    });
}

#[test]
fn other_content_is_refused_and_the_first_stays() {
    assert_kept(|story| {
        story.send(ALICE, "a1", "g", 1);
        story.intend_content(ALICE, "a1", "g", "other");
        let refusal = flare_checker::Refused {
            client_id: "a1".into(),
            code: "ALREADY_EXISTS".into(),
            retryable: false,
        };
        story.push(ALICE, ClientEvent::Refused(refusal));
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1).duplicate = true;
    });
}

#[test]
fn while_two_contents_are_on_their_way_an_ack_may_be_for_either() {
    assert_kept(|story| {
        story.intend(ALICE, "a1", "g");
        story.intend_content(ALICE, "a1", "g", "other");
        story.ack(ALICE, "a1", "g", 1);
        let refusal = flare_checker::Refused {
            client_id: "a1".into(),
            code: "ALREADY_EXISTS".into(),
            retryable: false,
        };
        story.push(ALICE, ClientEvent::Refused(refusal));
        story.stored("g", 1, "alice", "a1");
    });
}

#[test]
fn refused_sends_come_again_in_order() {
    assert_kept(|story| {
        for id in ["a1", "a2", "a3"] {
            story.intend(ALICE, id, "g");
        }
        story.refuse(ALICE, "a1", "RESOURCE_EXHAUSTED");
        story.refuse(ALICE, "a2", "RETRY_IN_ORDER");
        story.refuse(ALICE, "a3", "RETRY_IN_ORDER");
        for (id, seq) in [("a1", 1), ("a2", 2), ("a3", 3)] {
            story.resend(ALICE, id);
            story.ack(ALICE, id, "g", seq);
        }
    });
}

#[test]
fn what_is_given_up_holds_nothing_back() {
    assert_kept(|story| {
        story.intend(ALICE, "a1", "g");
        story.refuse(ALICE, "a1", "UNAVAILABLE");
        story.push(
            ALICE,
            ClientEvent::Abandoned {
                client_id: "a1".into(),
            },
        );
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 1);
    });
}

#[test]
fn a_refusal_holds_back_neither_other_conversations_nor_other_devices() {
    assert_kept(|story| {
        story.intend(ALICE, "a1", "g");
        story.refuse(ALICE, "a1", "UNAVAILABLE");
        story.intend(ALICE, "a2", "h");
        story.ack(ALICE, "a2", "h", 1);
        story.intend(PAD, "p1", "g");
        story.ack(PAD, "p1", "g", 1);
    });
}

#[test]
fn sends_of_two_devices_have_no_order() {
    assert_kept(|story| {
        story.intend(ALICE, "a1", "g");
        story.intend(PAD, "p1", "g");
        story.ack(PAD, "p1", "g", 1);
        story.ack(ALICE, "a1", "g", 2);
    });
}

#[test]
fn a_receipt_stands_for_the_event_in_its_senders_view() {
    assert_kept(|story| {
        story.push(ALICE, ClientEvent::OnlineThroughout);
        story.send(ALICE, "a1", "g", 1);
        story.stored("g", 2, "bob", "b1");
        story.get_stored(ALICE, "g", 2..=2, Via::Deliver);
        story.end(ALICE, "g", 2);
    });
}

#[test]
fn a_new_device_begins_with_a_snapshot_and_history_counts_as_seen() {
    assert_kept(|story| {
        for seq in 1..=9 {
            story.stored("g", seq, "alice", &format!("a{seq}"));
        }
        story.get_stored(BOB, "g", 3..=6, Via::History);
        story.push(
            BOB,
            ClientEvent::Snapshot {
                conversation: "g".into(),
                as_of: 6,
            },
        );
        story.get_stored(BOB, "g", 7..=9, Via::Sync);
        story.synced(BOB, "g", 6, 9, 9);
        story.end(BOB, "g", 9);
    });
}

#[test]
fn retention_may_take_the_beginning_if_the_floor_is_named() {
    assert_kept(|story| {
        story.floors.push(("g", 5));
        story.members("g", 5, vec![joined("alice"), joined("bob")]);
        story.stored("g", 6, "alice", "a6");
        story.push(
            BOB,
            ClientEvent::Floor {
                conversation: "g".into(),
                floor: 5,
            },
        );
        story.get_stored(BOB, "g", 5..=6, Via::Sync);
        let answer = SyncAnswer {
            conversation: "g".into(),
            from: 0,
            to: 6,
            head: 6,
            events: Some(2),
        };
        story.push(BOB, ClientEvent::Sync(answer));
        story.end(BOB, "g", 6);
    });
}

#[test]
fn a_client_id_may_be_used_again_after_retention() {
    assert_kept(|story| {
        story.floors.push(("g", 2));
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.resend(ALICE, "a1");
        story.ack(ALICE, "a1", "g", 2);
        story.stored("g", 2, "alice", "a1");
        story.stored("g", 1, "alice", "a1");
    });
}

#[test]
fn a_removed_user_gets_the_removal_and_a_joiner_what_visibility_allows() {
    assert_kept(|story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.stored("g", 2, "alice", "a2");
        story.members(
            "g",
            3,
            vec![MemberChange::Joined {
                user: "carol".into(),
                history_from: Some(1),
            }],
        );
        story.members("g", 4, vec![removed("bob")]);
        story.stored("g", 5, "carol", "c5");
        story.get_stored(BOB, "g", 1..=4, Via::Deliver);
        story.end(BOB, "g", 4);
        story.get_stored(CAROL, "g", 1..=5, Via::Sync);
        story.synced(CAROL, "g", 0, 5, 5);
        story.end(CAROL, "g", 5);
    });
}

#[test]
fn a_removed_user_need_not_have_learnt_of_it() {
    assert_kept(|story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.members("g", 2, vec![removed("bob")]);
        story.get_stored(BOB, "g", 1..=1, Via::Deliver);
        story.push(BOB, ClientEvent::Quiesced);
    });
}

#[test]
fn recalled_content_may_be_withheld() {
    assert_kept(|story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.send(ALICE, "a1", "g", 2);
        let recall = story.stored("g", 3, "alice", "a2");
        (recall.kind, recall.recalled_seq, recall.ordinal) = (Kind::Recall, Some(2), 2);
        recall.body_hash = None;
        story.get_stored(BOB, "g", 1..=1, Via::Sync);
        story
            .get(BOB, "g", 2, "alice", "a1", Via::History)
            .body_hash = None;
        story.get_stored(BOB, "g", 3..=3, Via::Sync);
        story.end(BOB, "g", 3);
    });
}

#[test]
fn recalled_content_is_withheld_by_the_store_and_by_syncs_from_then_on() {
    assert_kept(|story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.send(ALICE, "a1", "g", 2);
        let mut recall = as_delivered(story.stored("g", 3, "alice", "a2"), Via::Sync);
        (recall.kind, recall.recalled_seq) = (Some(Kind::Recall), Some(2));
        (recall.ordinal, recall.body_hash) = (Some(2), None);
        let stored = story.store.last_mut().expect("the recall");
        (stored.kind, stored.recalled_seq) = (Kind::Recall, Some(2));
        (stored.ordinal, stored.body_hash) = (2, None);
        // The tablet read before the recall, and was told of it later.
        story.get_stored("bob/tablet", "g", 1..=2, Via::Sync);
        story.synced("bob/tablet", "g", 0, 2, 2);
        story.push("bob/tablet", ClientEvent::Delivered(recall));
        story.end("bob/tablet", "g", 3);
        story.store[1].body_hash = None;
        story.get_stored(BOB, "g", 1..=3, Via::Sync);
        story.synced(BOB, "g", 0, 3, 3);
        story.end(BOB, "g", 3);
    });
}

#[test]
fn a_backend_sends_in_a_users_name_without_reading() {
    assert_kept(|story| {
        story.all_senders_recorded = true;
        story.stored("d_1", 1, "alice", "k1").participants = vec!["alice".into(), "bob".into()];
        let intent = Intent {
            client_id: "k1".into(),
            target: Target::User("bob".into()),
            sender: "alice".into(),
            body_hash: body_hash(b"k1"),
            kind: Kind::Message,
        };
        story.push("shop/key", ClientEvent::Intent(intent));
        story.ack("shop/key", "k1", "d_1", 1);
    });
}

#[test]
fn two_tenants_may_have_conversations_of_one_name() {
    assert_kept(|story| {
        story.send(ALICE, "a1", "g", 1);
        let event = story.stored("g", 1, "alice", "a1");
        event.tenant = "other".into();
        event.message_id = "other#1".into();
        let mut delivered = crate::story::as_delivered(event, Via::Deliver);
        delivered.tenant = None;
        story.push_as(
            Client::new("other", "bob", "laptop"),
            ClientEvent::Delivered(delivered),
        );
    });
}

#[test]
fn a_hint_and_a_sync_are_as_good_as_a_push() {
    assert_kept(|story| {
        for seq in 1..=3 {
            story.stored("g", seq, "alice", &format!("a{seq}"));
        }
        story.push(BOB, ClientEvent::OnlineThroughout);
        story.push(BOB, ClientEvent::SyncHint { conversation: None });
        story.get_stored(BOB, "g", 1..=2, Via::Sync);
        story.synced(BOB, "g", 0, 2, 3);
        story.get_stored(BOB, "g", 3..=3, Via::Sync);
        story.synced(BOB, "g", 2, 3, 3);
        story.end(BOB, "g", 3);
    });
}

#[test]
fn a_seq_near_the_end_of_the_numbers_costs_no_memory() {
    let mut story = Story::default();
    story.get(BOB, "g", u64::MAX, "alice", "a1", Via::Sync);
    story.synced(BOB, "g", u64::MAX - 1, u64::MAX, u64::MAX);
    story.end(BOB, "g", u64::MAX);
    assert_eq!(
        story.verdict().counts,
        Counts {
            clients: 1,
            conversations: 1,
            deliveries: 1,
            syncs: 1,
            ends: 1,
            ..Counts::default()
        }
    );
}
