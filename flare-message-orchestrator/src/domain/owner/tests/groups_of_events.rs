use flare_proto::common::ErrorCode;
use flare_storage_model::{MAX_RECORD_BYTES, flags};

use crate::domain::owner::{testing::*, *};

const IS_GROUP: Held = |it| matches!(it, Output::Append { events: 1.., .. });

fn sizes(world: &World) -> Vec<usize> {
    let groups = world.seen.iter().filter_map(|it| match it {
        Output::Append { events, .. } if *events > 0 => Some(*events),
        _ => None,
    });
    groups.collect()
}

#[test]
fn one_group_is_in_flight_while_the_next_gathers() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    for id in 0..10 {
        world.submit([send("alice", "bob", &format!("{id}"))]);
    }
    assert_eq!(world.held.len(), 1);
    world.release();
    assert_eq!(sizes(&world), [1, 9]);
    let seqs: Vec<_> = world
        .answered
        .iter()
        .map(|it| it.1.as_ref().map(|it| it.receipt.seq))
        .collect();
    assert_eq!(seqs, (1..=10).map(Ok).collect::<Vec<_>>());
}

#[test]
fn a_group_waits_for_its_turn_and_what_comes_meanwhile_is_in_it() {
    let mut world = World::owning_with(OwnerConfig {
        waits_for_turns: true,
        ..config()
    });
    world.hold = |it| matches!(it, Output::AwaitTurn);
    for id in 0..10 {
        world.submit([send("alice", "bob", &format!("{id}"))]);
    }
    assert_eq!(world.held.len(), 1, "it asks once");
    assert!(sizes(&world).is_empty());
    world.release();
    assert_eq!(sizes(&world), [10]);
    assert_eq!(world.answered.len(), 10);
}

#[test]
fn the_next_group_asks_for_its_turn_while_one_is_in_flight() {
    let mut world = World::owning_with(OwnerConfig {
        waits_for_turns: true,
        ..config()
    });
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "0")]);
    let turns = |world: &World| world.count(|it| matches!(it, Output::AwaitTurn));
    assert_eq!(turns(&world), 1);
    world.submit([send("alice", "bob", "1")]);
    world.submit([send("alice", "bob", "2")]);
    assert_eq!(turns(&world), 2, "its turn has come, and it waits on");
    assert_eq!(world.held.len(), 1);
    world.release();
    assert_eq!(sizes(&world), [1, 2]);
    assert_eq!(turns(&world), 2, "nobody asks who has nothing to say");
}

#[test]
fn a_group_has_a_thousand_events_at_most() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    for id in 0..2_501 {
        world.submit([send(&format!("u{}", id % 50), "bob", &format!("{id}"))]);
    }
    world.release();
    assert_eq!(sizes(&world), [1, 1_000, 1_000, 500]);
    assert_eq!(world.answered.len(), 2_501);
}

#[test]
fn a_group_fits_one_record() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    for id in 0..40 {
        let mut command = send("alice", "bob", &format!("{id}"));
        command.body = vec![b'x'; 60_000].into();
        world.submit([command]);
    }
    world.release();
    assert_eq!(world.events().len(), 40);
    assert!(world.log.iter().all(|it| it.len() <= MAX_RECORD_BYTES));
    assert!(sizes(&world).contains(&8), "{:?}", sizes(&world));
}

#[test]
fn what_no_record_can_hold_is_refused() {
    let mut world = World::owning();
    let mut command = send("alice", "bob", "1");
    command.body = vec![b'x'; MAX_RECORD_BYTES].into();
    assert_eq!(world.code(command), ErrorCode::ContentTooLarge);
}

#[test]
fn a_senders_commands_keep_their_order_when_an_earlier_one_waits_for_a_read() {
    let mut world = World::owning();
    world.hold = |it| matches!(it, Output::Read { .. });
    // The first id says nothing of its age and must be looked up; the second was minted later than anything forgotten.
    let minted = ulid::Ulid::from_parts(u64::try_from(NOW_MS).expect("after 1970"), 1).to_string();
    world.submit([
        send("alice", "bob", "order-1"),
        send("alice", "bob", &minted),
    ]);
    assert!(world.answered.is_empty());
    world.release();
    let order: Vec<_> = world
        .events()
        .iter()
        .map(|it| it.header().client_id.clone())
        .collect();
    assert_eq!(order, ["order-1", &minted]);
}

#[test]
fn one_senders_flood_does_not_keep_others_out_of_a_group() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("zoe", "bob", "0")]);
    world.submit((0..3_000).map(|it| send("alice", "bob", &format!("{it}"))));
    world.submit([send("carol", "bob", "1")]);
    world.release();
    let place = world
        .events()
        .iter()
        .position(|it| it.header().sender_id == "carol")
        .expect("placed");
    assert!(place < 1_001, "in the second group, not at {place}");
}

#[test]
fn time_never_runs_backwards() {
    let mut world = World::owning();
    let first = world.place(send("alice", "bob", "1"));
    world.clock_ms -= 3_600_000;
    let second = world.place(send("alice", "bob", "2"));
    assert!(second.time_ms >= first.time_ms);
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store, next.clock_ms) = (world.log, world.store, world.clock_ms);
    next.step(Input::Assigned);
    assert_eq!(
        next.place(send("carol", "bob", "1")).time_ms,
        first.time_ms,
        "another conversation of the partition"
    );
}

#[test]
fn messages_count_and_changes_do_not() {
    let mut world = World::with_group();
    let first = world.place(say("alice", "general", "1"));
    assert_eq!((first.seq, first.ordinal), (2, 1));
    let renamed = world.place(change("general", EventKind::ConversationRenamed, "2"));
    assert_eq!((renamed.seq, renamed.ordinal), (3, 1));
    let second = world.place(say("bob", "general", "3"));
    assert_eq!((second.seq, second.ordinal), (4, 2));
}

#[test]
fn the_header_says_who_when_what_and_to_whom() {
    let mut world = World::with_group();
    let mut command = say("alice", "general", "1");
    command.trace_id = Bytes::from_static(&[7; 16]);
    command.action = Action::Send {
        content: command.body.clone(),
        mentions: vec!["bob".into(), "adam".into()],
        mention_all: true,
    };
    let receipt = world.place(command.clone());
    let events = world.events();
    let event = events.last().expect("an event");
    let header = event.header();
    assert_eq!(header.message_id, receipt.message_id.to_string());
    assert_eq!(
        receipt.message_id.timestamp_ms(),
        u64::try_from(NOW_MS).expect("after 1970")
    );
    assert_eq!(
        (
            &*header.sender_id,
            &*header.sender_device_id,
            &*header.client_id
        ),
        ("alice", "phone", "1")
    );
    assert_eq!(header.mentions, ["bob", "adam"]);
    assert_eq!(header.flags, flags::COUNTABLE | flags::MENTION_ALL);
    assert_eq!(
        (header.kind(), header.class()),
        (EventKind::MessageCreated, ConversationClass::Group)
    );
    assert_eq!(
        (header.time_ms, header.trace_id.as_ref()),
        (NOW_MS, &[7; 16][..])
    );
    assert_eq!(event.fingerprint(), command.fingerprint);
    let created = events[0].header();
    assert_eq!(
        (created.flags, created.kind()),
        (flags::MEMBERSHIP, EventKind::ConversationCreated)
    );
}

#[test]
fn message_ids_are_all_different() {
    let mut world = World::owning();
    for id in 0..300 {
        world.submit([
            send("alice", "bob", &format!("a{id}")),
            send("bob", "alice", &format!("b{id}")),
        ]);
    }
    let mut ids: Vec<_> = world
        .events()
        .iter()
        .map(flare_storage_model::LoggedEvent::message_id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 600);
}

#[test]
fn a_full_disk_refuses_and_the_epoch_goes_on() {
    let mut world = World::owning();
    world.hold = IS_GROUP;
    world.submit([send("alice", "bob", "1")]);
    let Some(Output::Append { append, .. }) = world.held.pop() else {
        panic!("no group")
    };
    world.hold = |_| false;
    world.step(Input::Appended {
        append,
        report: AppendReport::NoRoom,
    });
    let refusal = world.answered[0].1.clone().expect_err("refused");
    assert_eq!(refusal.code, ErrorCode::ResourceExhausted);
    assert!(refusal.retry_after.is_some());
    assert_eq!(
        world.code(send("alice", "bob", "2")),
        ErrorCode::ResourceExhausted
    );
    world.step(Input::Room(true));
    assert_eq!(world.place(send("alice", "bob", "1")).seq, 1);
    assert_eq!(world.owner.log_state().epoch.number, 1);
}
