//! Promise 3, broken.

use flare_checker::{Kind, Via, body_hash};

use crate::story::{ALICE, BOB, CAROL, forgeries, id_at};

forgeries! {
    a_hole_in_the_store: SeqHole, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 3, "alice", "a3");
    };
    a_store_that_begins_above_its_floor: SeqHole, |story| {
        story.stored("g", 2, "alice", "a2");
    };
    a_store_that_begins_above_the_floor_of_retention: SeqHole, |story| {
        story.floors.push(("g", 5));
        story.stored("g", 6, "alice", "a6").ordinal = 6;
    };
    two_readers_with_two_messages_at_one_seq: OrderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(CAROL, "g", 1, "alice", "a2", Via::Deliver).message_id = "other".into();
    };
    a_reader_with_another_message_than_the_store: OrderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).message_id = "other".into();
        story.stored("g", 1, "alice", "a1");
    };
    two_receipts_for_one_place: OrderDiffers, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.intend(BOB, "b1", "g");
        story.ack(BOB, "b1", "g", 1).message_id = "other".into();
    };
    a_log_and_a_store_that_differ: OrderDiffers, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 1, "alice", "a1").message_id = "other".into();
    };
    two_readers_with_two_contents: BodyDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(CAROL, "g", 1, "alice", "a1", Via::Sync).body_hash = Some(body_hash(b"other"));
    };
    a_reader_with_other_content_than_the_store: BodyDiffers, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(CAROL, "g", 1, "alice", "a1", Via::Deliver).body_hash = Some(body_hash(b"other"));
    };
    an_event_with_two_ordinals: HeaderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).ordinal = Some(0);
        story.stored("g", 1, "alice", "a1");
    };
    an_event_with_two_times: HeaderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).server_time_ms = Some(7);
        story.stored("g", 1, "alice", "a1");
    };
    an_event_of_two_kinds: HeaderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).kind = Some(Kind::Recall);
        story.stored("g", 1, "alice", "a1");
    };
    an_event_with_two_client_ids: HeaderDiffers, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(CAROL, "g", 1, "alice", "a1", Via::Deliver).client_id = Some("a2".into());
    };
    a_message_id_at_two_seqs: MessageIdReused, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 2, "alice", "a2").message_id = id_at("g", 1);
    };
    a_message_id_in_two_conversations: MessageIdReused, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("h", 1, "alice", "a2").message_id = id_at("g", 1);
    };
    an_event_that_only_a_reader_has: Phantom, |story| {
        story.stored("g", 1, "alice", "a1");
        story.get(BOB, "g", 2, "alice", "a2", Via::Deliver);
    };
    a_head_that_the_store_does_not_reach: Phantom, |story| {
        story.stored("g", 1, "alice", "a1");
        story.get_stored(BOB, "g", 1..=1, Via::Sync);
        story.synced(BOB, "g", 0, 1, 2);
    };
    two_sends_of_a_connection_swapped: SendOrderBroken, |story| {
        story.intend(ALICE, "a1", "g");
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a1", "g", 2);
        story.ack(ALICE, "a2", "g", 1);
    };
    two_sends_swapped_and_acked_by_seq: SendOrderBroken, |story| {
        story.intend(ALICE, "a1", "g");
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 1);
        story.ack(ALICE, "a1", "g", 2);
    };
    two_sends_swapped_across_names_of_one_conversation: SendOrderBroken, |story| {
        story.intend(ALICE, "a1", "@bob");
        story.intend(ALICE, "a2", "d_1");
        story.ack(ALICE, "a1", "d_1", 2);
        story.ack(ALICE, "a2", "d_1", 1);
    };
    a_send_acked_behind_a_refused_one: OvertookRefusal, |story| {
        story.intend(ALICE, "a1", "g");
        story.intend(ALICE, "a2", "g");
        story.refuse(ALICE, "a1", "RESOURCE_EXHAUSTED");
        story.ack(ALICE, "a2", "g", 1);
    };
    a_send_after_a_refusal_that_was_not_retried: OvertookRefusal, |story| {
        story.intend(ALICE, "a1", "g");
        story.refuse(ALICE, "a1", "UNAVAILABLE");
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 1);
    };
    a_refusal_after_a_later_send_was_acked: OvertookRefusal, |story| {
        story.intend(ALICE, "a1", "g");
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 1);
        story.refuse(ALICE, "a1", "RESOURCE_EXHAUSTED");
    };
    an_ordinal_that_falls: OrdinalBroken, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 2, "alice", "a2").ordinal = 0;
    };
    an_ordinal_that_jumps: OrdinalBroken, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 2, "alice", "a2").ordinal = 3;
    };
    an_ordinal_that_begins_above_one: OrdinalBroken, |story| {
        story.stored("g", 1, "alice", "a1").ordinal = 2;
    };
    a_time_that_falls: TimeWentBack, |story| {
        story.stored("g", 1, "alice", "a1");
        story.stored("g", 2, "alice", "a2").time_ms = 4_000;
    };
    a_time_that_falls_seen_by_a_reader_alone: TimeWentBack, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).server_time_ms = Some(7);
        story.get(BOB, "g", 2, "alice", "a2", Via::Deliver).server_time_ms = Some(6);
    };
}
