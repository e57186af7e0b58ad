use flare_proto::{common::ErrorCode, message::EventKind};
use flare_storage_model::{LogRecord, LoggedEvent, record};

use crate::domain::owner::{testing::*, *};

const IS_GROUP: Held = |it| matches!(it, Output::Append { events: 1.., .. });
const IS_MARKER: Held = |it| matches!(it, Output::Append { events: 0, .. });
const IS_PAUSE: Held = |it| matches!(it, Output::BackOff { .. });

/// The append that is held.
fn held_append(world: &World) -> (u64, Bytes) {
    match world.held.last() {
        Some(Output::Append { append, record, .. }) => (*append, record.clone()),
        other => panic!("no append is held but {other:?}"),
    }
}

fn report(world: &mut World, append: u64, report: AppendReport) {
    world.held.clear();
    world.hold = |_| false;
    world.step(Input::Appended { append, report });
}

#[test]
fn a_partition_is_owned_when_the_fold_shows_the_own_marker() {
    let mut world = World::new(config());
    world.hold = IS_MARKER;
    world.step(Input::Assigned);
    assert!(!world.owner.is_owning());
    world.release();
    assert!(world.owner.is_owning());
    assert_eq!(world.owner.log_state().epoch.number, 1);
}

#[test]
fn commands_wait_while_the_partition_is_claimed_and_are_answered_then() {
    let mut world = World::new(config());
    world.hold = IS_MARKER;
    world.step(Input::Assigned);
    world.submit([send("alice", "bob", "1")]);
    assert!(world.answered.is_empty());
    world.release();
    assert_eq!(world.answered.len(), 1);
    assert_eq!(world.answered[0].1.as_ref().map(|it| it.receipt.seq), Ok(1));
}

#[test]
fn a_higher_foreign_marker_means_not_mine_and_the_next_claim_waits() {
    let mut world = World::new(config());
    world.hold = IS_MARKER;
    world.step(Input::Assigned);
    let (append, marker) = held_append(&world);
    world.foreign_takeover(5);
    world.log.push(marker);
    world.hold = IS_PAUSE;
    world.held.clear();
    world.step(Input::Appended {
        append,
        report: AppendReport::At(1),
    });
    assert!(matches!(
        world.held[..],
        [Output::BackOff { attempt: 1, .. }]
    ));
    assert!(!world.owner.is_owning());
    world.release();
    assert!(world.owner.is_owning());
    assert_eq!(world.owner.log_state().epoch.number, 6);
}

#[test]
fn no_receipt_leaves_before_the_append_is_reported() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    assert!(world.answered.is_empty());
    world.release();
    assert_eq!(world.answered.len(), 1);
}

#[test]
fn a_durable_group_behind_a_foreign_marker_is_not_acked_but_decided_again() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    let (append, group) = held_append(&world);
    world.foreign_takeover(9);
    world.log.push(group);
    world.hold = IS_PAUSE;
    world.held.clear();
    world.step(Input::Appended {
        append,
        report: AppendReport::At(2),
    });
    assert!(world.answered.is_empty(), "durable alone is not valid");
    assert!(
        matches!(world.held[..], [Output::BackOff { .. }]),
        "a live owner gets a moment first"
    );
    world.release();
    let placement = world.answered[0]
        .1
        .clone()
        .expect("placed in the next epoch");
    assert!(!placement.duplicate);
    assert_eq!(
        world.count(|it| matches!(it, Output::Skipped(SkipReason::OtherEpoch { .. }))),
        1
    );
    assert_eq!(world.events().len(), 1);
}

#[test]
fn an_unknown_append_that_landed_is_found_as_a_duplicate() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    let (append, group) = held_append(&world);
    world.log.push(group);
    report(&mut world, append, AppendReport::Unknown);
    let placement = world.answered[0].1.clone().expect("placed");
    let events = world.events();
    assert_eq!((events.len(), events[0].receipt()), (1, placement.receipt));
    assert!(placement.duplicate);
}

#[test]
fn an_unknown_append_that_lands_late_has_no_effect() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    let (append, group) = held_append(&world);
    report(&mut world, append, AppendReport::Unknown);
    let placement = world.answered[0].1.clone().expect("placed anew");
    world.log.push(group);
    let events = world.events();
    assert_eq!(
        events.iter().map(LoggedEvent::receipt).collect::<Vec<_>>(),
        [placement.receipt]
    );
    assert!(!placement.duplicate);
    // The late record takes the place that the next group should have had.
    let next = world
        .answer(send("alice", "bob", "2"))
        .expect("found by the fold");
    assert_eq!(next.receipt.seq, 2);
    assert_eq!(world.events().len(), 2);
    assert_eq!(world.owner.log_state().epoch.number, 3);
}

#[test]
fn reports_of_an_epoch_that_ended_are_ignored() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    let (append, _) = held_append(&world);
    report(&mut world, append, AppendReport::Unknown);
    let answered = world.answered.clone();
    world.step(Input::Appended {
        append,
        report: AppendReport::At(2),
    });
    assert_eq!(world.answered, answered);
    assert!(world.owner.is_owning());
}

#[test]
fn who_is_not_assigned_says_so_for_everything_in_hand() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    world.submit([send("alice", "bob", "2")]);
    world.step(Input::Revoked);
    let codes: Vec<_> = world.held.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!(codes.len(), 1, "only the group is held");
    let codes: Vec<_> = world
        .answered
        .iter()
        .map(|it| it.1.as_ref().expect_err("refused").code)
        .collect();
    assert_eq!(codes, [ErrorCode::NotOwner, ErrorCode::NotOwner]);
    assert_eq!(world.code(send("alice", "bob", "3")), ErrorCode::NotOwner);
    world.release();
    world.step(Input::Assigned);
    assert!(world.owner.is_owning());
    let again = world
        .answer(send("alice", "bob", "1"))
        .expect("it had landed");
    assert!(again.duplicate);
}

#[test]
fn recovery_folds_what_the_store_does_not_have() {
    let mut world = World::owning();
    let first = world.place(send("alice", "bob", "1"));
    world.store_all();
    let second = world.place(send("alice", "bob", "2"));
    let mut next = World::new(config());
    (next.log, next.store) = (world.log, world.store);
    next.step(Input::Assigned);
    assert_eq!(next.place(send("bob", "alice", "3")).seq, 3);
    for (id, receipt) in [("1", first), ("2", second)] {
        let again = next.answer(send("alice", "bob", id)).expect("known");
        assert_eq!((again.receipt, again.duplicate), (receipt, true), "{id}");
    }
}

#[test]
fn two_owners_of_one_log_give_each_command_one_place() {
    let mut one = World::owning();
    one.place(send("alice", "bob", "1"));
    let mut two = World::new(OwnerConfig {
        name: "two".to_owned(),
        ..config()
    });
    two.owner = Owner::new(config(), 8);
    two.log = one.log.clone();
    two.step(Input::Assigned);
    two.place(send("alice", "bob", "2"));
    // The first learns it from his next offset, and finds what the other has placed.
    one.log.clone_from(&two.log);
    let again = one
        .answer(send("alice", "bob", "2"))
        .expect("placed by the other");
    assert!(again.duplicate);
    let seqs: Vec<_> = one.events().iter().map(LoggedEvent::seq).collect();
    assert_eq!(seqs, [1, 2]);
}

#[test]
fn an_owner_that_does_not_know_of_the_next_refuses_nothing_for_good() {
    let mut one = World::owning_with(OwnerConfig {
        log_is_shared: true,
        ..config()
    });
    let appends = |world: &World| world.count(|it| matches!(it, Output::Append { .. }));
    let begun = appends(&one);
    assert_eq!(
        one.code(say("alice", "team", "1")),
        ErrorCode::ConversationNotFound
    );
    assert_eq!(
        appends(&one),
        begun + 1,
        "an empty group proves whose the log is"
    );
    assert!(one.events().is_empty());

    let mut two = World::new(config());
    two.owner = Owner::new(config(), 8);
    two.log = one.log.clone();
    two.step(Input::Assigned);
    two.place(change("team", EventKind::ConversationCreated, "1"));
    // The first has not heard of it: its group lands behind the other's marker, and it looks again.
    one.log.clone_from(&two.log);
    let alice = (key("team"), "alice".into());
    one.members
        .insert(alice, member(Standing::Active(Role::Member), 1));
    one.place(say("alice", "team", "2"));
}

#[test]
fn a_record_that_does_not_decode_stops_the_partition() {
    let mut world = World::new(config());
    world.log.push(Bytes::from_static(b"\x09nonsense"));
    world.step(Input::Assigned);
    assert_eq!(
        world.count(|it| matches!(it, Output::Halt(reason) if reason.contains("offset 0"))),
        1
    );
    assert_eq!(
        world.code(send("alice", "bob", "1")),
        ErrorCode::Unavailable
    );
    world.step(Input::Assigned);
    assert!(!world.owner.is_owning());
}

#[test]
fn a_hole_in_a_conversation_stops_the_partition() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    let mut other = World::owning();
    other.place(send("alice", "bob", "1"));
    other.place(send("alice", "bob", "2"));
    let LogRecord::Group { events, .. } = record::decode(other.log[2].clone()).expect("a record")
    else {
        panic!("no group");
    };
    let mut broken = events[0].header().clone();
    broken.seq = 5;
    let event =
        LoggedEvent::create(broken, Bytes::new(), events[0].fingerprint()).expect("an event");
    let group = LogRecord::Group {
        epoch: world.owner.log_state().epoch,
        n: 1,
        events: vec![event],
    };
    world.log.push(record::encode(&group).expect("a record"));
    let mut next = World::new(config());
    next.log = world.log;
    next.step(Input::Assigned);
    assert_eq!(
        next.count(|it| matches!(it, Output::Halt(reason) if reason.contains("seq 5"))),
        1
    );
}

#[test]
fn a_log_that_cannot_be_read_is_tried_again_from_the_stores_cursor() {
    let mut world = World::new(config());
    world.hold = |it| matches!(it, Output::ReadLog { .. });
    world.step(Input::Assigned);
    let Some(Output::ReadLog { fold, .. }) = world.held.pop() else {
        panic!("the log is read first")
    };
    world.hold = |_| false;
    world.step(Input::FoldFailed { fold });
    assert!(world.owner.is_owning());
    assert_eq!(world.count(|it| matches!(it, Output::BackOff { .. })), 1);
    assert_eq!(world.count(|it| matches!(it, Output::ReadCursor { .. })), 2);
}

/// Alice takes back what is not there, and says something behind that, all by one lane; Bob says something by another. Nobody knows of the group.
fn refused_and_placed() -> (World, u64) {
    let mut world = World::owning();
    world.place(send("alice", "bob", "0"));
    let place = world.events()[0].key().conversation.to_string();
    let by = |lane: u64, mut command: Command| {
        command.origin = Origin {
            stream: 1,
            lane,
            lane_generation: 1,
            ..Origin::default()
        };
        command
    };
    world.answered.clear();
    world.hold = IS_GROUP;
    world.submit([
        by(1, recall("alice", &place, 2, "1")),
        by(1, send("alice", "bob", "2")),
        by(2, send("bob", "alice", "3")),
    ]);
    world.submit([by(1, send("alice", "bob", "4"))]);
    let (append, group) = held_append(&world);
    world.log.push(group);
    (world, append)
}

fn codes(world: &World) -> Vec<(u64, Option<ErrorCode>)> {
    let code = |it: &Answered| (it.0, it.1.as_ref().err().map(|it| it.code));
    world.answered.iter().map(code).collect()
}

#[test]
fn what_was_refused_before_something_else_of_its_lane_is_not_placed_behind_it() {
    let (mut world, append) = refused_and_placed();
    report(&mut world, append, AppendReport::Unknown);
    assert_eq!(
        codes(&world),
        [
            (2, Some(ErrorCode::DeadlineExceeded)),
            (3, Some(ErrorCode::DeadlineExceeded)),
            (5, Some(ErrorCode::RetryInOrder)),
            (4, None),
        ]
    );
    let seqs: Vec<_> = world.events().iter().map(|it| it.header().seq).collect();
    assert_eq!(seqs, [1, 2, 3], "nothing was placed but what had landed");
    // The lane is held until its caller has taken note.
    let mut next = send("alice", "bob", "5");
    next.origin = Origin {
        stream: 1,
        lane: 1,
        lane_generation: 1,
        ..Origin::default()
    };
    assert_eq!(world.code(next.clone()), ErrorCode::RetryInOrder);
    next.origin.lane_generation = 2;
    assert_eq!(world.place(next).seq, 4);
    assert_eq!(world.owner.pending(), 0);
}

#[test]
fn the_same_is_told_before_the_partition_is_disowned() {
    let (mut world, _) = refused_and_placed();
    world.step(Input::Revoked);
    assert_eq!(
        codes(&world),
        [
            (2, Some(ErrorCode::DeadlineExceeded)),
            (3, Some(ErrorCode::DeadlineExceeded)),
            (5, Some(ErrorCode::RetryInOrder)),
            (4, Some(ErrorCode::NotOwner)),
        ]
    );
    assert_eq!(world.owner.pending(), 0);
}
