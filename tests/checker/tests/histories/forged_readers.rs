//! Promises 4 and 5, broken.

use flare_checker::{ClientEvent, Kind, SyncAnswer, Via};

use crate::story::{ALICE, BOB, CAROL, Story, forgeries, joined};

/// A store with five messages, which nobody's history acks.
fn five(story: &mut Story) {
    for seq in 1..=5 {
        story.stored("g", seq, "alice", &format!("a{seq}"));
    }
}

/// Takes a message back.
pub(crate) fn recall(story: &mut Story, seq: u64, target: u64) {
    let recall = story.stored("g", seq, "alice", &format!("a{seq}"));
    (recall.kind, recall.recalled_seq) = (Kind::Recall, Some(target));
    (recall.ordinal, recall.body_hash) = (5, None);
}

forgeries! {
    a_hole_in_a_quiesced_view: ViewGap, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=2, Via::Deliver);
        story.get_stored(BOB, "g", 4..=5, Via::Deliver);
        story.end(BOB, "g", 5);
    };
    a_view_that_lacks_its_beginning: ViewGap, |story| {
        five(story);
        story.get_stored(BOB, "g", 2..=5, Via::Deliver);
        story.end(BOB, "g", 5);
    };
    a_hole_that_another_reader_proves: ViewGap, |story| {
        story.get(CAROL, "g", 2, "alice", "a2", Via::Deliver);
        for seq in [1, 3] {
            story.get(BOB, "g", seq, "alice", &format!("a{seq}"), Via::Deliver);
        }
        story.end(BOB, "g", 3);
    };
    a_sync_that_leaves_a_seq_out: SyncSkipped, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=3, Via::Sync);
        story.get_stored(BOB, "g", 5..=5, Via::Sync);
        story.synced(BOB, "g", 0, 5, 5);
    };
    a_sync_that_begins_late_without_naming_a_floor: SyncSkipped, |story| {
        five(story);
        story.get_stored(BOB, "g", 3..=5, Via::Sync);
        story.synced(BOB, "g", 0, 5, 5);
    };
    a_sync_that_leaves_out_what_was_pushed: SyncSkipped, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=5, Via::Deliver);
        let answer = SyncAnswer { conversation: "g".into(), from: 0, to: 5, head: 5, events: Some(4) };
        story.push(BOB, ClientEvent::Sync(answer));
    };
    content_withheld_though_nobody_recalled_it: Tombstone, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=4, Via::Deliver);
        story.get(BOB, "g", 5, "alice", "a5", Via::Deliver).body_hash = None;
        story.end(BOB, "g", 5);
    };
    content_that_the_store_withholds_though_nobody_recalled_it: Tombstone, |story| {
        five(story);
        story.stored("g", 6, "alice", "a6").body_hash = None;
    };
    content_of_another_message_withheld_than_was_recalled: Tombstone, |story| {
        five(story);
        recall(story, 6, 2);
        story.get(BOB, "g", 3, "alice", "a3", Via::History).body_hash = None;
    };
    a_head_below_what_was_there_before_a_restart: HeadWentBack, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=5, Via::Deliver);
        story.push(BOB, ClientEvent::Disconnected);
        story.push(BOB, ClientEvent::Connected);
        story.synced(BOB, "g", 4, 4, 4);
    };
    a_head_below_its_own_answer: HeadWentBack, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=5, Via::Sync);
        story.synced(BOB, "g", 0, 5, 4);
    };
    a_floor_above_what_is_kept: FalseFloor, |story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        for seq in 2..=5 {
            story.stored("g", seq, "alice", &format!("a{seq}"));
        }
        story.push(BOB, ClientEvent::Floor { conversation: "g".into(), floor: 4 });
        story.get_stored(BOB, "g", 4..=5, Via::Sync);
        story.synced(BOB, "g", 0, 5, 5);
        story.end(BOB, "g", 5);
    };

    a_reader_short_of_the_head: NotReached, |story| {
        five(story);
        story.get_stored(BOB, "g", 1..=4, Via::Deliver);
        story.end(BOB, "g", 4);
    };
    a_reader_short_of_a_head_that_a_sync_named: NotReached, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Sync);
        story.synced(BOB, "g", 0, 1, 2);
        story.end(BOB, "g", 1);
    };
    a_reader_that_claims_more_than_it_has: NotReached, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.end(BOB, "g", 2);
    };
    a_member_who_never_heard_of_the_conversation: NotReached, |story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.push(BOB, ClientEvent::Quiesced);
    };
    a_participant_of_a_direct_conversation_who_never_heard_of_it: AckedUnseen, |story| {
        story.intend(ALICE, "a1", "@bob");
        story.ack(ALICE, "a1", "d_1", 1);
        story.push(BOB, ClientEvent::Quiesced);
    };
    an_online_device_that_had_to_ask: NotPushed, |story| {
        five(story);
        story.push(BOB, ClientEvent::Connected);
        story.get_stored(BOB, "g", 1..=2, Via::Sync);
        story.synced(BOB, "g", 0, 2, 2);
        story.push(BOB, ClientEvent::OnlineThroughout);
        story.get_stored(BOB, "g", 3..=4, Via::Deliver);
        story.get_stored(BOB, "g", 5..=5, Via::Sync);
        story.synced(BOB, "g", 4, 5, 5);
        story.end(BOB, "g", 5);
    };
    an_online_device_that_found_a_conversation_by_itself: NotPushed, |story| {
        story.members("g", 1, vec![joined("alice"), joined("bob")]);
        story.push(BOB, ClientEvent::OnlineThroughout);
        story.get_stored(BOB, "g", 1..=1, Via::History);
        story.push(BOB, ClientEvent::Quiesced);
    };
}
