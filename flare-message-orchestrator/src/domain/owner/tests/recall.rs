use flare_proto::common::ErrorCode;

use crate::domain::owner::{testing::*, *};

#[test]
fn the_sender_takes_a_message_back_within_the_window() {
    let mut world = World::owning();
    let sent = world.place(send("alice", "bob", "1"));
    let place = send("alice", "bob", "1").conversation.conversation;
    world.clock_ms += 120_000;
    let recalled = world.place(recall("alice", &place, sent.seq, "2"));
    assert_eq!(
        (recalled.seq, recalled.ordinal),
        (2, 1),
        "a recall does not count"
    );
    let events = world.events();
    let header = events[1].header();
    assert_eq!(
        (header.kind(), header.target_seq),
        (EventKind::MessageRecalled, 1)
    );
    assert_eq!(header.participants, ["alice", "bob"]);

    world.place(send("alice", "bob", "3"));
    world.clock_ms += 120_001;
    let refusal = world.refusal(recall("alice", &place, 3, "4"));
    assert_eq!(
        (refusal.code, refusal.field.as_ref()),
        (ErrorCode::RecallWindowPassed, "seq")
    );
}

#[test]
fn owner_and_admin_of_a_group_take_back_any_message_at_any_time() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(say("alice", "general", "2"));
    world.store_all();
    world.clock_ms += 86_400_000;
    assert_eq!(
        world.code(recall("bob", "general", 2, "1")),
        ErrorCode::PermissionDenied
    );
    assert_eq!(
        world.code(recall("alice", "general", 2, "3")),
        ErrorCode::RecallWindowPassed
    );
    world.place(recall("adam", "general", 2, "1"));
    world.place(recall("olga", "general", 3, "1"));
}

#[test]
fn who_has_left_takes_nothing_back() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(change("general", EventKind::MemberLeft, "1"));
    world.join("alice", Standing::Former, 3);
    assert_eq!(
        world.code(recall("alice", "general", 2, "2")),
        ErrorCode::NotAMember
    );
}

#[test]
fn a_message_is_taken_back_once() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.submit([
        recall("alice", "general", 2, "2"),
        recall("adam", "general", 2, "1"),
    ]);
    let codes: Vec<_> = world
        .answered
        .iter()
        .rev()
        .take(2)
        .map(|it| it.1.as_ref().err().map(|it| it.code))
        .collect();
    assert!(
        codes.contains(&None) && codes.contains(&Some(ErrorCode::FailedPrecondition)),
        "{codes:?}"
    );
    assert_eq!(
        world.code(recall("olga", "general", 2, "1")),
        ErrorCode::FailedPrecondition
    );
    let again = world
        .answer(recall("alice", "general", 2, "2"))
        .expect("its retry");
    assert!(again.duplicate);
}

#[test]
fn only_messages_are_taken_back() {
    let mut world = World::with_group();
    for seq in [1, 2, 99] {
        let refusal = world.refusal(recall("olga", "general", seq, &format!("{seq}")));
        assert_eq!(
            (refusal.code, refusal.field.as_ref()),
            (ErrorCode::MessageNotFound, "seq"),
            "{seq}"
        );
    }
}

#[test]
fn messages_that_only_the_store_knows_are_taken_back_by_its_word() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(say("alice", "general", "2"));
    world.place(recall("alice", "general", 3, "3"));
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store, next.members) = (world.log, world.store, world.members);
    next.step(Input::Assigned);
    assert_eq!(
        next.code(recall("bob", "general", 2, "1")),
        ErrorCode::PermissionDenied
    );
    assert_eq!(
        next.code(recall("alice", "general", 3, "4")),
        ErrorCode::FailedPrecondition
    );
    assert_eq!(
        next.code(recall("alice", "general", 1, "5")),
        ErrorCode::MessageNotFound
    );
    assert_eq!(next.place(recall("alice", "general", 2, "6")).seq, 5);
}
