use flare_proto::common::ErrorCode;

use flare_storage_model::{LogRecord, record};

use crate::domain::owner::{testing::*, *};

fn minted(at_ms: i64, random: u128) -> String {
    ulid::Ulid::from_parts(u64::try_from(at_ms).expect("after 1970"), random).to_string()
}

fn id_reads(world: &World) -> usize {
    world
        .seen
        .iter()
        .map(|it| {
            if let Output::Read { request, .. } = it {
                request.ids.len()
            } else {
                0
            }
        })
        .sum()
}

#[test]
fn a_retry_gets_the_first_receipt() {
    let mut world = World::owning();
    let first = world.place(send("alice", "bob", "1"));
    let again = world.answer(send("alice", "bob", "1")).expect("known");
    assert_eq!((again.receipt, again.duplicate), (first, true));
    assert_eq!(world.events().len(), 1);
}

#[test]
fn the_same_id_with_other_content_is_refused() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    let mut other = send("alice", "bob", "1");
    other.fingerprint = send("alice", "bob", "2").fingerprint;
    let refusal = world.refusal(other);
    assert_eq!(
        (refusal.code, refusal.field.as_ref()),
        (ErrorCode::AlreadyExists, "client_id")
    );
}

#[test]
fn an_id_belongs_to_its_sender_and_conversation() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    assert_eq!(world.place(send("bob", "alice", "1")).seq, 2);
    assert_eq!(world.place(send("alice", "carol", "1")).seq, 1);
}

#[test]
fn a_command_that_comes_twice_at_once_is_placed_once() {
    let mut world = World::owning();
    let mut other = send("alice", "bob", "1");
    other.fingerprint = send("alice", "bob", "2").fingerprint;
    world.submit([send("alice", "bob", "1"), send("alice", "bob", "1"), other]);
    assert_eq!(world.events().len(), 1);
    let results: Vec<_> = world
        .answered
        .iter()
        .map(|it| it.1.as_ref().map(|it| it.duplicate).map_err(|it| it.code))
        .collect();
    assert_eq!(
        results,
        [Ok(false), Ok(true), Err(ErrorCode::AlreadyExists)]
    );
}

#[test]
fn what_rests_on_a_group_in_flight_is_told_with_it() {
    let mut world = World::owning();
    world.hold = |it| matches!(it, Output::Append { events: 1.., .. });
    world.submit([send("alice", "bob", "1"), send("alice", "bob", "1")]);
    assert!(world.answered.is_empty());
    world.submit([send("alice", "bob", "1")]);
    assert!(
        world.answered.is_empty(),
        "the group in flight may never count"
    );
    world.release();
    assert_eq!(world.answered.len(), 3);
    assert_eq!(world.events().len(), 1);
}

#[test]
fn an_id_that_only_the_store_knows_is_found_there() {
    let mut world = World::owning();
    let first = world.place(send("alice", "bob", "1"));
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store) = (world.log, world.store);
    next.step(Input::Assigned);
    let again = next.answer(send("alice", "bob", "1")).expect("known");
    assert_eq!((again.receipt, again.duplicate), (first, true));
    assert_eq!(id_reads(&next), 1);
}

#[test]
fn an_id_minted_after_all_that_is_forgotten_is_not_looked_up() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store) = (world.log, world.store);
    next.step(Input::Assigned);
    next.clock_ms += 31_000;
    next.place(send("alice", "bob", &minted(NOW_MS + 30_001, 1)));
    assert_eq!(id_reads(&next), 0);
    next.place(send("alice", "bob", &minted(NOW_MS + 30_000, 2)));
    assert_eq!(
        id_reads(&next),
        1,
        "its event could be as old as what is forgotten"
    );
    next.place(send("alice", "bob", "no time"));
    assert_eq!(id_reads(&next), 2);
}

#[test]
fn an_id_minted_in_the_future_is_refused_with_the_servers_time() {
    let mut world = World::owning();
    world.place(send("alice", "bob", &minted(NOW_MS + 30_000, 1)));
    let refusal = world.refusal(send("alice", "bob", &minted(NOW_MS + 30_001, 1)));
    assert_eq!(
        (refusal.code, refusal.field.as_ref()),
        (ErrorCode::ClientIdInFuture, "client_id")
    );
    assert_eq!(refusal.server_time_ms, Some(NOW_MS));
}

#[test]
fn an_early_id_is_found_after_a_restart_with_a_slow_clock() {
    // Minted at the edge of what is allowed, while the clock of the first owner ran ahead.
    let mut world = World::owning();
    world.clock_ms += 60_000;
    let id = minted(NOW_MS + 90_000, 1);
    let first = world.place(send("alice", "bob", &id));
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store) = (world.log, world.store);
    next.step(Input::Assigned);
    let again = next.answer(send("alice", "bob", &id)).expect("known");
    assert_eq!((again.receipt, again.duplicate), (first, true));
}

#[test]
fn a_store_that_cannot_be_read_is_no_answer() {
    let mut world = World::owning();
    world.store.fails = true;
    let refusal = world.refusal(send("alice", "bob", "1"));
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after.is_some());
    world.store.fails = false;
    world.place(send("alice", "bob", "1"));
}

#[test]
fn an_id_that_the_clock_has_fallen_behind_while_it_waited_is_refused() {
    let mut world = World::owning();
    world.hold = |it| matches!(it, Output::Read { .. });
    world.submit([send("alice", "bob", &minted(NOW_MS + 30_000, 1))]);
    world.clock_ms -= 1;
    world.release();
    let refusal = world.answered[0].1.clone().expect_err("refused");
    assert_eq!(
        (refusal.code, refusal.server_time_ms),
        (ErrorCode::ClientIdInFuture, Some(NOW_MS - 1))
    );
}

#[test]
fn a_repetition_whose_first_one_did_not_come_through_is_decided_for_itself() {
    let mut world = World::with_group();
    world.hold = |it| matches!(it, Output::Read { .. } | Output::Append { events: 1.., .. });
    world.submit([say("alice", "general", "1")]);
    // Its id is to be read next; but it is decided as a repetition, together with the first.
    world.submit([say("alice", "general", "1")]);
    let Some(Output::Read { read, request }) = world.held.pop() else {
        panic!("nothing is read")
    };
    let answer = ReadAnswer {
        receipts: vec![None; request.ids.len()],
        ..ReadAnswer::default()
    };
    world.step(Input::ReadAnswered {
        read,
        answer: Some(answer),
    });
    let Some(Output::Append { append, .. }) = world.held.pop() else {
        panic!("no group")
    };
    // The epoch ends, and alice's first command is refused: the second has nothing to rest on.
    world.join("alice", Standing::Former, 2);
    let removed = LogRecord::Group {
        epoch: world.owner.log_state().epoch,
        n: 1,
        events: vec![event_of(
            &change("general", EventKind::MemberRemoved, "2"),
            2,
        )],
    };
    world.log.push(record::encode(&removed).expect("a record"));
    world.hold = |_| false;
    world.step(Input::Appended {
        append,
        report: AppendReport::Unknown,
    });
    let codes: Vec<_> = world
        .answered
        .iter()
        .skip(1)
        .map(|it| it.1.as_ref().expect_err("refused").code)
        .collect();
    assert_eq!(codes, [ErrorCode::NotAMember; 2]);
}
