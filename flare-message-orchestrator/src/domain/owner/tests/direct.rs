use flare_proto::common::ErrorCode;
use flare_storage_model::{direct_conversation_id, flags};

use crate::domain::owner::{testing::*, *};

fn place_of(a: &str, b: &str) -> String {
    direct_conversation_id("default", a, b)
}

fn system() -> Actor {
    Actor {
        kind: ActorKind::System,
        user: "".into(),
        device: "".into(),
    }
}

#[test]
fn a_direct_conversation_exists_by_being_written_to() {
    let mut world = World::owning();
    let placement = world.answer(send("bob", "alice", "1")).expect("placed");
    assert_eq!(*placement.conversation, *place_of("alice", "bob"));
    assert_eq!(world.place(send("alice", "bob", "2")).seq, 2);
    assert_eq!(
        world
            .place(say("alice", &place_of("alice", "bob"), "3"))
            .seq,
        3
    );
    for event in world.events() {
        let header = event.header();
        assert_eq!(header.participants, ["alice", "bob"]);
        assert_eq!(header.class(), ConversationClass::Direct);
    }
    assert_eq!(world.count(|it| matches!(it, Output::Authorise { .. })), 0);
}

#[test]
fn an_id_of_a_direct_conversation_that_nobody_began_is_not_found() {
    let mut world = World::owning();
    let refusal = world.refusal(say("alice", &place_of("alice", "bob"), "1"));
    assert_eq!(
        (refusal.code, refusal.field.as_ref()),
        (ErrorCode::ConversationNotFound, "conversation_id")
    );
}

#[test]
fn others_do_not_write_to_a_direct_conversation() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    assert_eq!(
        world.code(say("mallory", &place_of("alice", "bob"), "1")),
        ErrorCode::ConversationNotFound
    );
    world.store_all();
    let mut next = World::new(config());
    (next.log, next.store) = (world.log, world.store);
    next.step(Input::Assigned);
    assert_eq!(
        next.code(say("mallory", &place_of("alice", "bob"), "2")),
        ErrorCode::ConversationNotFound
    );
    assert_eq!(
        next.place(say("bob", &place_of("alice", "bob"), "3")).seq,
        2
    );
}

#[test]
fn the_system_writes_to_a_direct_conversation_that_exists() {
    let mut world = World::owning();
    let place = place_of("alice", "bob");
    let by_system = |id| Command {
        actor: system(),
        ..say("", &place, id)
    };
    assert_eq!(world.code(by_system("1")), ErrorCode::ConversationNotFound);
    world.place(send("alice", "bob", "1"));
    assert_eq!(world.place(by_system("1")).seq, 2);
    let events = world.events();
    let header = events[1].header();
    assert_eq!(
        (&*header.sender_id, header.flags),
        ("", flags::COUNTABLE | flags::VIA_API)
    );
    assert_eq!(header.participants, ["alice", "bob"]);
}

#[test]
fn tenants_do_not_meet() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    let mut other = send("alice", "bob", "1");
    other.conversation = ConversationKey::new("other", other.conversation.conversation);
    assert_eq!(world.place(other).seq, 1);
}

#[test]
fn a_direct_conversation_is_not_changed() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    let refusal = world.refusal(change(
        &place_of("alice", "bob"),
        EventKind::MembersAdded,
        "1",
    ));
    assert_eq!(
        (refusal.code, refusal.field.as_ref()),
        (ErrorCode::InvalidArgument, "conversation_id")
    );
}
