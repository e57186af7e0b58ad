use flare_proto::common::ErrorCode;

use crate::domain::owner::{testing::*, *};

const IS_GROUP: Held = |it| matches!(it, Output::Append { events: 1.., .. });

fn exhausted(world: &mut World, command: Command) {
    let refusal = world.refusal(command);
    assert_eq!(refusal.code, ErrorCode::ResourceExhausted, "{refusal}");
    assert!(refusal.retry_after.is_some());
}

#[test]
fn commands_in_hand_are_bounded_by_count() {
    let mut world = World::owning_with(OwnerConfig {
        max_pending_commands: 3,
        ..config()
    });
    world.hold = IS_GROUP;
    world.submit((0..3).map(|it| send("alice", "bob", &format!("{it}"))));
    assert_eq!(world.owner.pending(), 3);
    exhausted(&mut world, send("alice", "bob", "3"));
    world.release();
    assert_eq!(world.owner.pending(), 0);
    world.place(send("alice", "bob", "3"));
}

#[test]
fn commands_in_hand_are_bounded_by_bytes() {
    let mut world = World::owning_with(OwnerConfig {
        max_pending_bytes: 100_000,
        ..config()
    });
    world.hold = IS_GROUP;
    let large = |id: &str| Command {
        body: vec![b'x'; 60_000].into(),
        ..send("alice", "bob", id)
    };
    world.submit([large("1")]);
    exhausted(&mut world, large("2"));
    world.release();
    world.place(large("2"));
}

#[test]
fn a_store_that_is_too_many_events_behind_stops_sends() {
    let mut world = World::owning_with(OwnerConfig {
        max_store_lag_events: 2,
        ..config()
    });
    world.place(send("alice", "bob", "1"));
    world.place(send("alice", "bob", "2"));
    exhausted(&mut world, send("alice", "bob", "3"));
    world.store_all();
    world.place(send("alice", "bob", "3"));
}

#[test]
fn a_store_that_is_too_long_behind_stops_sends() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    world.clock_ms += 599_999;
    world.place(send("alice", "bob", "2"));
    world.clock_ms += 1;
    exhausted(&mut world, send("alice", "bob", "3"));
    world.store_all();
    world.place(send("alice", "bob", "3"));
}

#[test]
fn a_disk_without_room_stops_sends() {
    let mut world = World::owning();
    world.step(Input::Room(false));
    exhausted(&mut world, send("alice", "bob", "1"));
    world.step(Input::Room(true));
    world.place(send("alice", "bob", "1"));
}
