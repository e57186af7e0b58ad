//! Promise 6, broken.

use flare_checker::{Client, ClientEvent, Delivered, Kind, MemberChange, Via, body_hash};

use crate::story::{ALICE, BOB, CAROL, Story, forgeries, joined, removed};

/// Alice and bob from seq 1, carol from 3 to 5, messages between.
fn group(story: &mut Story) {
    story.members("g", 1, vec![joined("alice"), joined("bob")]);
    story.stored("g", 2, "alice", "a2");
    story.members("g", 3, vec![joined("carol")]);
    story.stored("g", 4, "alice", "a4");
    story.members("g", 5, vec![removed("carol")]);
    story.stored("g", 6, "alice", "a6");
}

fn change(who: &str, at_seq: u64, change: MemberChange) -> (String, ClientEvent) {
    (
        who.to_owned(),
        ClientEvent::Member {
            conversation: "g".into(),
            at_seq,
            change,
        },
    )
}

/// Three messages, the second of which seq 4 takes back.
fn recalled(story: &mut Story) {
    for seq in 1..=3 {
        story.stored("g", seq, "alice", &format!("a{seq}"));
    }
    let recall = story.stored("g", 4, "alice", "a4");
    (recall.kind, recall.recalled_seq, recall.ordinal) = (Kind::Recall, Some(2), 3);
    recall.body_hash = None;
}

forgeries! {
    recalled_content_in_the_answer_that_has_the_recall: RecalledShown, |story| {
        recalled(story);
        story.get_stored(BOB, "g", 1..=4, Via::Sync);
        story.synced(BOB, "g", 0, 4, 4);
    };
    recalled_content_in_an_answer_that_names_a_later_head: RecalledShown, |story| {
        recalled(story);
        story.get_stored(BOB, "g", 1..=2, Via::Sync);
        story.synced(BOB, "g", 0, 2, 4);
    };
    recalled_content_for_one_of_two_readers: RecalledShown, |story| {
        recalled(story);
        for (who, head) in [(BOB, 3), (CAROL, 4)] {
            story.get_stored(who, "g", 1..=3, Via::Sync);
            story.synced(who, "g", 0, 3, head);
        }
    };
    an_event_for_a_stranger: DeliveredToStranger, |story| {
        group(story);
        story.get_stored("dave/phone", "g", 2..=2, Via::Sync);
    };
    an_event_of_a_direct_conversation_for_a_third: DeliveredToStranger, |story| {
        story.stored("d_1", 1, "alice", "a1").participants = vec!["alice".into(), "bob".into()];
        story.get_stored(CAROL, "d_1", 1..=1, Via::Deliver);
    };
    an_acked_direct_message_for_a_third: DeliveredToStranger, |story| {
        story.intend(ALICE, "a1", "@bob");
        story.ack(ALICE, "a1", "d_1", 1);
        story.get(CAROL, "d_1", 1, "alice", "a1", Via::Deliver);
    };
    an_event_after_removal: DeliveredAfterRemoval, |story| {
        group(story);
        story.get_stored(CAROL, "g", 3..=6, Via::Deliver);
    };
    an_event_after_a_removal_that_only_readers_saw: DeliveredAfterRemoval, |story| {
        for (who, event) in [change(BOB, 1, joined("bob")), change(BOB, 1, joined("carol")), change(BOB, 2, removed("carol"))] {
            story.push(&who, event);
        }
        story.get(CAROL, "g", 3, "bob", "b3", Via::Deliver);
    };
    an_event_from_before_the_joining: DeliveredBeforeJoin, |story| {
        group(story);
        story.get_stored(CAROL, "g", 2..=5, Via::Sync);
    };
    an_event_from_between_two_memberships: DeliveredAfterRemoval, |story| {
        group(story);
        story.members("g", 7, vec![joined("carol")]);
        story.get_stored(CAROL, "g", 3..=7, Via::History);
    };
    a_message_by_a_stranger: SentByNonMember, |story| {
        group(story);
        story.stored("g", 7, "dave", "d1");
    };
    a_message_by_a_removed_user: SentByNonMember, |story| {
        group(story);
        story.send(CAROL, "c1", "g", 7);
    };
    a_recall_by_a_removed_user: SentByNonMember, |story| {
        group(story);
        let recall = story.stored("g", 7, "carol", "c1");
        recall.kind = Kind::Recall;
        recall.recalled_seq = Some(4);
    };
    a_sender_that_the_store_changed: SenderForged, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.stored("g", 1, "bob", "a1");
    };
    a_sender_taken_from_the_payload: SenderForged, |story| {
        story.intend(CAROL, "c1", "g");
        story.stored("g", 1, "alice", "c1");
    };
    two_readers_with_two_senders: SenderForged, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(CAROL, "g", 1, "bob", "a1", Via::Deliver);
    };
    a_message_that_nobody_sent: NotIntended, |story| {
        story.all_senders_recorded = true;
        story.send(ALICE, "a1", "g", 1);
        story.stored("g", 2, "alice", "a2");
    };
    a_message_in_another_conversation_than_meant: Misrouted, |story| {
        story.intend(ALICE, "a1", "g");
        story.stored("h", 1, "alice", "a1");
    };
    an_ack_from_another_conversation_than_meant: Misrouted, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "h", 1);
    };
    a_direct_message_in_the_conversation_with_another: Misrouted, |story| {
        story.intend(ALICE, "a1", "@carol");
        story.ack(ALICE, "a1", "d_1", 1);
        story.intend(ALICE, "a2", "@bob");
        story.ack(ALICE, "a2", "d_1", 2);
    };
    two_direct_conversations_of_the_same_users: Misrouted, |story| {
        story.intend(ALICE, "a1", "@bob");
        story.ack(ALICE, "a1", "d_1", 1);
        story.intend(BOB, "b1", "@alice");
        story.ack(BOB, "b1", "d_2", 1);
    };
    an_event_that_bears_another_tenant: TenantMixed, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).tenant = Some("other".into());
    };
    a_message_id_of_another_tenant: TenantMixed, |story| {
        story.stored("g", 1, "alice", "a1");
        let event = Delivered::message("g", 1, "g#1", "alice", body_hash(b"a1"), Via::Sync);
        story.push_as(Client::new("other", "bob", "laptop"), ClientEvent::Delivered(event));
    };
    a_direct_conversation_with_a_third_participant: ParticipantsChanged, |story| {
        story.stored("d_1", 1, "alice", "a1").participants = vec!["alice".into(), "bob".into()];
        story.stored("d_1", 2, "alice", "a2").participants = vec!["alice".into(), "carol".into()];
    };
}
