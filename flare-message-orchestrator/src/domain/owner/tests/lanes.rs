use flare_proto::common::ErrorCode;

use crate::domain::owner::{testing::*, *};

fn in_lane(mut command: Command, generation: u32) -> Command {
    command.origin = Origin {
        stream: 1,
        correlation: 0,
        lane: 7,
        lane_generation: generation,
    };
    command
}

fn codes(world: &World) -> Vec<Option<ErrorCode>> {
    world
        .answered
        .iter()
        .map(|it| it.1.as_ref().err().map(|it| it.code))
        .collect()
}

fn too_fast(command: Command) -> Command {
    let refusal =
        Refusal::new(ErrorCode::RateLimited, "too fast").with_retry_after(Duration::from_millis(1));
    Command {
        refused: Some(Box::new(refusal)),
        ..command
    }
}

#[test]
fn behind_a_retryable_refusal_the_lane_waits_for_the_next_generation() {
    let mut world = World::owning();
    world.submit([
        in_lane(send("alice", "bob", "1"), 0),
        too_fast(in_lane(send("alice", "bob", "2"), 0)),
        in_lane(send("alice", "bob", "3"), 0),
    ]);
    world.submit([
        in_lane(send("alice", "bob", "4"), 0),
        send("alice", "bob", "5"),
    ]);
    world.submit([
        in_lane(send("alice", "bob", "2"), 1),
        in_lane(send("alice", "bob", "3"), 1),
    ]);
    let by_id: Vec<_> = world
        .events()
        .iter()
        .map(|it| it.header().client_id.clone())
        .collect();
    assert_eq!(by_id, ["1", "5", "2", "3"], "no lane means no order");
    assert_eq!(
        codes(&world)
            .iter()
            .filter(|it| **it == Some(ErrorCode::RetryInOrder))
            .count(),
        2
    );
}

#[test]
fn a_refusal_for_good_does_not_hold_up_the_lane() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    let mut other = in_lane(send("alice", "bob", "1"), 0);
    other.fingerprint = send("alice", "bob", "2").fingerprint;
    world.submit([other, in_lane(send("alice", "bob", "2"), 0)]);
    assert_eq!(codes(&world), [None, Some(ErrorCode::AlreadyExists), None]);
}

#[test]
fn nothing_overtakes_a_command_that_waited_in_vain() {
    let mut world = World::owning();
    world.hold = |it| matches!(it, Output::Read { .. });
    world.submit([in_lane(send("alice", "bob", "1"), 0)]);
    world.submit([
        in_lane(send("alice", "bob", "2"), 0),
        in_lane(send("alice", "bob", "3"), 1),
        send("alice", "bob", "no lane"),
    ]);
    let Some(Output::Read { read, .. }) = world.held.pop() else {
        panic!("nothing is read")
    };
    world.hold = |_| false;
    world.step(Input::ReadAnswered { read, answer: None });
    assert_eq!(
        world.answered[0].1.as_ref().expect_err("refused").code,
        ErrorCode::Unavailable
    );
    let late: Vec<_> = world.answered[1..3]
        .iter()
        .map(|it| it.1.as_ref().expect_err("refused").code)
        .collect();
    assert_eq!(late, [ErrorCode::RetryInOrder; 2]);
    // What had been sent behind it is held too, whatever its generation.
    assert_eq!(
        world.code(in_lane(send("alice", "bob", "3"), 1)),
        ErrorCode::RetryInOrder
    );
    world.place(in_lane(send("alice", "bob", "1"), 2));
}

#[test]
fn a_lane_ends_with_its_stream() {
    let mut world = World::owning();
    world.submit([too_fast(in_lane(send("alice", "bob", "1"), 0))]);
    assert_eq!(
        world.code(in_lane(send("alice", "bob", "2"), 0)),
        ErrorCode::RetryInOrder
    );
    world.step(Input::StreamEnded(1));
    world.place(in_lane(send("alice", "bob", "2"), 0));
}

#[test]
fn a_lane_that_cannot_be_remembered_ends_its_stream() {
    let mut world = World::owning_with(OwnerConfig {
        max_broken_lanes: 0,
        ..config()
    });
    world.submit([too_fast(in_lane(send("alice", "bob", "1"), 0))]);
    assert_eq!(world.count(|it| matches!(it, Output::EndStream(1))), 1);
    // What was on its way behind it must not overtake it.
    assert_eq!(
        world.code(in_lane(send("alice", "bob", "2"), 0)),
        ErrorCode::RetryInOrder
    );
    assert_eq!(world.count(|it| matches!(it, Output::EndStream(1))), 1);
    world.step(Input::StreamEnded(1));
    world.place(in_lane(send("alice", "bob", "1"), 0));
}
