use std::collections::BTreeSet;

use crate::domain::owner::{testing::*, *};

/// The client ids of those who wait for the answer to the question that is held.
fn waiting(world: &World) -> Vec<String> {
    let [held] = &world.held[..] else {
        panic!("not one question: {:?}", world.held)
    };
    let number = match held {
        Output::Append { append, .. } => *append,
        Output::Read { read, .. } => *read,
        Output::Authorise { ask, .. } => *ask,
        Output::AskHooks { hook, .. } => *hook,
        other => panic!("no question: {other:?}"),
    };
    assert_eq!(world.owner.waiting_for(number + 1).count(), 0);
    let ids: BTreeSet<_> = world
        .owner
        .waiting_for(number)
        .map(|it| it.client_id.to_string())
        .collect();
    ids.into_iter().collect()
}

fn answered(world: &mut World) {
    world.release();
    assert_eq!(world.owner.pending(), 0);
}

#[test]
fn those_whose_events_are_in_the_group_wait_for_its_append() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(say("bob", "general", "2"));
    world.hold = |it| matches!(it, Output::Append { .. });
    world.submit([
        say("alice", "general", "3"),
        say("alice", "general", "1"),
        say("bob", "general", "4"),
    ]);
    assert_eq!(
        waiting(&world),
        ["3", "4"],
        "a repetition rests on an earlier group"
    );
    answered(&mut world);
}

#[test]
fn whole_lines_wait_for_the_session_and_for_a_head() {
    let mut world = World::with_group();
    world.hold = |it| matches!(it, Output::Authorise { .. });
    world.submit([say("alice", "general", "1"), say("alice", "general", "2")]);
    assert_eq!(waiting(&world), ["1", "2"]);
    answered(&mut world);

    // What the store has, and nobody since.
    world.store_all();
    world.owner = Owner::new(config(), 8);
    world.step(Input::Assigned);
    world.hold = |it| matches!(it, Output::Read { .. });
    world.submit([send("alice", "bob", "3")]);
    assert_eq!(waiting(&world), ["3"]);
    answered(&mut world);
}

#[test]
fn one_message_waits_for_its_hooks() {
    let mut world = World::owning_with(OwnerConfig {
        hooks: true,
        ..config()
    });
    world.create_group();
    world.hold = |it| matches!(it, Output::AskHooks { .. });
    world.submit([say("alice", "general", "1"), say("alice", "general", "2")]);
    assert_eq!(waiting(&world), ["1"]);
}
