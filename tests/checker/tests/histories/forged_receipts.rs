//! Promises 1 and 2, broken.

use flare_checker::{ClientEvent, Via, body_hash};

use crate::story::{ALICE, BOB, PAD, forgeries};

forgeries! {
    an_acked_message_missing_at_the_stores_head: AckLost, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 2);
    };
    an_acked_message_missing_inside_the_store: AckLost, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.send(ALICE, "a2", "g", 2);
    };
    an_ack_by_a_server_that_kept_nothing: AckLost, |story| {
        story.store_known = true;
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
    };
    an_acked_message_that_no_reader_has: AckedUnseen, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.intend(ALICE, "a2", "g");
        story.ack(ALICE, "a2", "g", 2);
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.end(BOB, "g", 1);
    };
    an_acked_message_that_a_reader_skips: AckedUnseen, |story| {
        for seq in 1..=3 {
            story.send(ALICE, &format!("a{seq}"), "g", seq);
        }
        story.get_stored(BOB, "g", 1..=1, Via::Sync);
        story.get_stored(BOB, "g", 3..=3, Via::Sync);
        story.end(BOB, "g", 3);
    };
    a_receipt_for_a_place_where_another_message_stands: AckMismatch, |story| {
        story.get(PAD, "g", 1, "alice", "a1", Via::Deliver);
        story.intend(BOB, "b1", "g");
        story.ack(BOB, "b1", "g", 1).message_id = "other".into();
    };
    a_receipt_with_a_message_id_that_is_not_stored: AckMismatch, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1).message_id = "other".into();
        story.stored("g", 1, "alice", "a1");
    };
    a_receipt_whose_message_answers_another_command: AckMismatch, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.stored("g", 1, "alice", "a9").body_hash = Some(body_hash(b"a1"));
    };
    a_delivery_that_contradicts_a_receipt: AckMismatch, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver).message_id = "other".into();
    };
    acked_content_that_the_store_changed: ContentChanged, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 1);
        story.stored("g", 1, "alice", "a1").body_hash = Some(body_hash(b"other"));
    };
    unacked_content_that_the_store_changed: ContentChanged, |story| {
        story.intend(ALICE, "a1", "g");
        story.stored("g", 1, "alice", "a1").body_hash = Some(body_hash(b"other"));
    };

    a_retry_that_was_stored_again: StoredTwice, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.stored("g", 2, "alice", "a1");
    };
    a_retry_that_readers_got_again: StoredTwice, |story| {
        story.get(BOB, "g", 1, "alice", "a1", Via::Deliver);
        story.get(BOB, "g", 2, "alice", "a1", Via::Deliver);
    };
    a_retry_with_another_seq: ReceiptChanged, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.resend(ALICE, "a1");
        story.ack(ALICE, "a1", "g", 2).duplicate = true;
    };
    a_retry_with_another_message_id: ReceiptChanged, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.resend(ALICE, "a1");
        let receipt = story.ack(ALICE, "a1", "g", 1);
        receipt.duplicate = true;
        receipt.message_id = "other".into();
    };
    a_retry_from_another_device_with_another_seq: ReceiptChanged, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.intend(PAD, "a1", "g");
        story.ack(PAD, "a1", "g", 2).duplicate = true;
    };
    a_retry_that_is_not_marked: RetryNotMarked, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.resend(ALICE, "a1");
        story.ack(ALICE, "a1", "g", 1);
    };
    other_content_under_the_same_client_id: OtherContentAcked, |story| {
        story.send(ALICE, "a1", "g", 1);
        story.intend_content(ALICE, "a1", "g", "other");
        story.ack(ALICE, "a1", "g", 1).duplicate = true;
    };
    other_content_acked_while_both_are_on_their_way: OtherContentAcked, |story| {
        story.intend(ALICE, "a1", "g");
        story.intend_content(ALICE, "a1", "g", "other");
        story.ack(ALICE, "a1", "g", 1).body_hash = Some(body_hash(b"a1"));
        let second = story.ack(ALICE, "a1", "g", 1);
        second.duplicate = true;
        second.body_hash = Some(body_hash(b"other"));
    };

    an_ack_of_what_nobody_sent: BrokenHistory, |story| {
        story.ack(ALICE, "a1", "g", 1);
    };
    a_refusal_of_what_nobody_sent: BrokenHistory, |story| {
        story.refuse(ALICE, "a1", "UNAVAILABLE");
    };
    a_retry_of_what_nobody_sent: BrokenHistory, |story| {
        story.resend(ALICE, "a1");
    };
    an_index_that_falls: BrokenHistory, |story| {
        story.push(ALICE, ClientEvent::Connected);
        story.push(ALICE, ClientEvent::Disconnected).index = 1;
    };
    an_ack_with_seq_zero: BrokenHistory, |story| {
        story.intend(ALICE, "a1", "g");
        story.ack(ALICE, "a1", "g", 0);
    };
    an_event_with_seq_zero: BrokenHistory, |story| {
        story.get(BOB, "g", 0, "alice", "a1", Via::Deliver);
    };
    a_stored_event_with_seq_zero: BrokenHistory, |story| {
        story.stored("g", 0, "alice", "a1");
    };
    a_sync_that_ends_before_it_begins: BrokenHistory, |story| {
        story.synced(BOB, "g", 5, 4, 5);
    };
}
