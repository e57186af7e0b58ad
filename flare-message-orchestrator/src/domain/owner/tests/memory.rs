use flare_proto::common::ErrorCode;

use crate::domain::owner::{testing::*, *};

/// A world that remembers so little that each part of its memory holds more.
fn forgetful() -> World {
    let memory = MemoryLimits {
        heads: 0,
        ids: 0,
        messages: 0,
        part_entries: 50,
    };
    World::owning_with(OwnerConfig {
        memory,
        max_pending_commands: 1_000_000,
        ..config()
    })
}

/// Fills several parts of the memory.
fn fill(world: &mut World) {
    for batch in 0..4 {
        world.submit((0..50).map(|it| send("alice", &format!("u{batch}-{it}"), "1")));
        world.answered.clear();
        world.seen.clear();
    }
}

fn reads(world: &World) -> usize {
    world.count(|it| matches!(it, Output::Read { .. }))
}

#[test]
fn what_was_only_read_is_forgotten_too() {
    let mut world = forgetful();
    for batch in 0..40 {
        world.submit((0..50).map(|it| say("mallory", &format!("none-{batch}-{it}"), "1")));
    }
    assert!(world.answered.iter().all(|it| it.1.is_err()));
    let entries = world.owner.memory.entries();
    assert!(entries.iter().all(|it| *it <= 200), "{entries:?}");
}

#[test]
fn what_the_store_does_not_have_is_never_forgotten() {
    let mut world = forgetful();
    world.place(send("alice", "bob", "first"));
    fill(&mut world);
    let again = world.answer(send("alice", "bob", "first")).expect("known");
    assert!(again.duplicate);
    assert_eq!(world.place(send("alice", "bob", "second")).seq, 2);
}

#[test]
fn what_the_store_has_is_forgotten_and_read_again() {
    let mut world = forgetful();
    let first = world.place(send("alice", "bob", "first"));
    world.store_all();
    fill(&mut world);
    world.store_all();
    world.place(send("alice", "carol", "next"));
    world.seen.clear();
    let again = world
        .answer(send("alice", "bob", "first"))
        .expect("known to the store");
    assert_eq!((again.receipt, again.duplicate), (first, true));
    assert_eq!(world.place(send("alice", "bob", "second")).seq, 2);
    assert!(reads(&world) >= 1);
}

#[test]
fn an_answer_older_than_what_was_forgotten_is_asked_for_again() {
    let mut world = forgetful();
    world.place(send("alice", "bob", "first"));
    world.store_all();
    // The answer is made here, before bob's conversation moves on and is forgotten.
    world.hold = |it| matches!(it, Output::Read { .. });
    world.submit([send("carol", "dave", "1")]);
    let Some(Output::Read { read, request }) = world.held.pop() else {
        panic!("nothing is read")
    };
    assert_eq!(request.heads.len(), 1);
    let stale = ReadAnswer {
        as_of: 0,
        heads: vec![None],
        receipts: vec![None],
        targets: Vec::new(),
    };
    world.hold = |_| false;
    // The memory begins at the store's cursor after a restart: nothing below it may be answered by less.
    world.step(Input::Revoked);
    world.step(Input::Assigned);
    world.hold = |it| matches!(it, Output::Read { .. });
    world.submit([send("carol", "dave", "1")]);
    world.step(Input::ReadAnswered {
        read,
        answer: Some(stale.clone()),
    });
    let Some(Output::Read { read, .. }) = world.held.pop() else {
        panic!("nothing is read")
    };
    let before = world.answered.len();
    world.step(Input::ReadAnswered {
        read,
        answer: Some(stale),
    });
    assert_eq!(world.answered.len(), before);
    assert!(
        matches!(world.held[..], [Output::Read { .. }]),
        "it is read again"
    );
    world.release();
    assert!(world.answered.last().expect("answered").1.is_ok());
}

#[test]
fn commands_in_hand_keep_their_heads() {
    let mut world = forgetful();
    world.create_group();
    world.place(say("alice", "general", "1"));
    world.store_all();
    fill(&mut world);
    // Adam's membership is asked for while everything that is not named is forgotten.
    world.hold = |it| matches!(it, Output::Authorise { .. });
    world.submit([say("adam", "general", "1")]);
    world.store_all();
    world.submit([send("alice", "carol", "next")]);
    world.seen.clear();
    world.release();
    assert_eq!(
        world.events().last().expect("placed").header().sender_id,
        "adam"
    );
    assert_eq!(reads(&world), 0);
}

#[test]
fn a_head_that_the_fold_shows_in_part_is_completed_by_the_store() {
    let mut world = World::with_group();
    world.store_all();
    world.place(change("general", EventKind::ConversationRenamed, "1"));
    world.place(say("alice", "general", "1"));
    let mut next = World::new(config());
    (next.log, next.store, next.members) = (world.log, world.store, world.members);
    next.step(Input::Assigned);
    // The last member event lies in the store, below the fold: an answer that does not include it is too old.
    next.join("bob", Standing::Active(Role::Member), 0);
    assert_eq!(
        next.code(say("bob", "general", "1")),
        ErrorCode::Unavailable
    );
    next.join("bob", Standing::Active(Role::Member), 1);
    assert_eq!(next.place(say("bob", "general", "1")).seq, 4);
}

#[test]
fn a_store_ahead_of_its_owner_changes_nothing() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    world.hold = |it| matches!(it, Output::Append { events: 1.., .. });
    world.submit([send("alice", "bob", "2"), send("carol", "dave", "1")]);
    // The storage-writer has the group before its owner knows.
    let Some(Output::Append { append, record, .. }) = world.held.pop() else {
        panic!("no group")
    };
    world.log.push(record);
    world.store.commit(&world.log, world.log.len());
    world.step(Input::CursorMoved(world.store.cursor));
    world.hold = |_| false;
    world.submit([send("dave", "carol", "1")]);
    let offset = world.log.len() as u64 - 1;
    world.step(Input::Appended {
        append,
        report: AppendReport::At(offset),
    });
    assert_eq!(world.answered.iter().filter(|it| it.1.is_ok()).count(), 4);
    assert_eq!(world.owner.store_lag_events(), 1, "dave's only");
    assert_eq!(world.place(send("carol", "dave", "2")).seq, 3);
}
