use flare_proto::common::ErrorCode;
use flare_storage_model::direct_conversation_id;

use crate::domain::owner::{testing::*, *};

fn asked(world: &World) -> usize {
    world.count(|it| matches!(it, Output::Authorise { .. }))
}

#[test]
fn only_members_send_to_a_group() {
    let mut world = World::with_group();
    assert_eq!(world.place(say("alice", "general", "1")).seq, 2);
    for (standing, code) in [
        (Standing::Stranger, ErrorCode::ConversationNotFound),
        (Standing::Former, ErrorCode::NotAMember),
        (Standing::NoConversation, ErrorCode::ConversationNotFound),
    ] {
        world.join("mallory", standing, 1);
        let refusal = world.refusal(say("mallory", "general", "1"));
        assert_eq!(
            (refusal.code, refusal.field.as_ref()),
            (code, "conversation_id")
        );
    }
    assert_eq!(
        world.code(say("alice", "nowhere", "1")),
        ErrorCode::ConversationNotFound
    );
}

#[test]
fn a_stranger_cannot_tell_a_conversation_from_one_that_is_not_there() {
    let mut world = World::with_group();
    let spoken = world.place(say("alice", "general", "1")).seq;
    world.join("mallory", Standing::Stranger, 1);
    world.place(send("alice", "bob", "1"));
    let direct = direct_conversation_id("default", "alice", "bob");
    let untouched = direct_conversation_id("default", "alice", "carol");
    for (there, not_there) in [("general", "nowhere"), (&*direct, &*untouched)] {
        for command in [
            |to: &str, _| say("mallory", to, "2"),
            |to: &str, seq| recall("mallory", to, seq, "3"),
        ] {
            let told = world.refusal(command(there, spoken));
            let of_nothing = world.refusal(command(not_there, spoken));
            assert_eq!(
                (told.code, told.message.replace(there, not_there)),
                (of_nothing.code, of_nothing.message.to_string())
            );
            assert_eq!(told.field, of_nothing.field);
        }
    }
}

#[test]
fn a_membership_is_asked_for_once_and_a_refusal_each_time() {
    let mut world = World::with_group();
    for id in ["1", "2", "3"] {
        world.place(say("alice", "general", id));
    }
    assert_eq!(asked(&world), 1);
    world.join("mallory", Standing::Stranger, 1);
    world.code(say("mallory", "general", "1"));
    world.join("mallory", Standing::Active(Role::Member), 1);
    world.place(say("mallory", "general", "2"));
}

#[test]
fn after_removed_at_seq_k_no_later_seq_is_from_that_user() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.join("alice", Standing::Former, 3);
    world.submit([
        change("general", EventKind::MemberRemoved, "1"),
        say("alice", "general", "2"),
    ]);
    assert_eq!(
        world
            .answered
            .last()
            .expect("answered")
            .1
            .as_ref()
            .expect_err("refused")
            .code,
        ErrorCode::NotAMember
    );
    assert_eq!(world.events().len(), 3);
}

#[test]
fn an_answer_older_than_the_last_member_event_is_asked_for_again_and_then_unavailable() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(change("general", EventKind::MembersAdded, "1"));
    let before = asked(&world);
    let refusal = world.refusal(say("alice", "general", "2"));
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert!(refusal.retry_after.is_some());
    assert_eq!(asked(&world) - before, 3, "the configured attempts");
    world.join("alice", Standing::Active(Role::Member), 3);
    assert_eq!(world.place(say("alice", "general", "2")).seq, 4);
}

#[test]
fn a_member_event_in_the_group_that_gathers_makes_older_answers_stale() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.hold = |it| matches!(it, Output::Append { events: 1.., .. });
    world.submit([say("bob", "general", "1")]);
    // Both wait for the same group: the change is decided first.
    world.submit([
        change("general", EventKind::MemberRemoved, "1"),
        say("alice", "general", "2"),
    ]);
    world.join("alice", Standing::Former, 4);
    world.release();
    let last = world.answered.last().expect("answered");
    assert_eq!(
        last.1.as_ref().expect_err("refused").code,
        ErrorCode::NotAMember
    );
    assert_eq!(world.events().len(), 4);
}

#[test]
fn nothing_is_sent_to_a_disbanded_conversation() {
    let mut world = World::with_group();
    world.place(say("alice", "general", "1"));
    world.place(change("general", EventKind::ConversationDisbanded, "1"));
    let end = |standing| Membership {
        standing,
        disbanded: true,
        as_of: 3,
    };
    for (user, standing) in [
        ("alice", Standing::Active(Role::Member)),
        ("", Standing::Stranger),
        ("bob", Standing::Former),
        ("mallory", Standing::Stranger),
    ] {
        world
            .members
            .insert((key("general"), user.into()), end(standing));
    }
    assert_eq!(
        world.code(say("alice", "general", "2")),
        ErrorCode::ConversationDisbanded
    );
    let system = Actor {
        kind: ActorKind::System,
        user: "".into(),
        device: "".into(),
    };
    let by_system = Command {
        actor: system,
        ..say("", "general", "2")
    };
    assert_eq!(world.code(by_system), ErrorCode::ConversationDisbanded);
    assert_eq!(
        world.code(say("bob", "general", "2")),
        ErrorCode::NotAMember,
        "who had left by then does not learn of the end"
    );
    assert_eq!(
        world.code(say("mallory", "general", "2")),
        ErrorCode::ConversationNotFound,
        "strangers learn nothing"
    );
}

#[test]
fn the_system_sends_without_being_a_member() {
    let mut world = World::with_group();
    world
        .members
        .insert((key("general"), "".into()), member(Standing::Stranger, 1));
    let system = Actor {
        kind: ActorKind::System,
        user: "".into(),
        device: "".into(),
    };
    let by_system = Command {
        actor: system,
        ..say("", "general", "1")
    };
    assert_eq!(world.place(by_system).seq, 2);
}

#[test]
fn a_session_that_does_not_answer_is_no_permission() {
    let mut world = World::with_group();
    world.hold = |it| matches!(it, Output::Authorise { .. });
    world.submit([say("alice", "general", "1")]);
    let Some(Output::Authorise { ask, .. }) = world.held.pop() else {
        panic!("nobody is asked")
    };
    world.step(Input::Authorised { ask, answers: None });
    assert_eq!(
        world
            .answered
            .last()
            .expect("answered")
            .1
            .as_ref()
            .expect_err("refused")
            .code,
        ErrorCode::Unavailable
    );
}

#[test]
fn services_change_conversations_without_being_asked_for() {
    let mut world = World::with_group();
    let before = asked(&world);
    assert_eq!(
        world
            .place(change("general", EventKind::MembersAdded, "1"))
            .seq,
        2
    );
    assert_eq!(asked(&world), before);
    assert_eq!(
        world.code(change("general", EventKind::ConversationCreated, "2")),
        ErrorCode::AlreadyExists
    );
    assert_eq!(
        world.code(change("nowhere", EventKind::MembersAdded, "3")),
        ErrorCode::ConversationNotFound
    );
    let again = world
        .answer(change("general", EventKind::ConversationCreated, "created"))
        .expect("known");
    assert!(again.duplicate, "the outbox sends until it has a receipt");
}

#[test]
fn only_who_is_known_to_take_part_counts_for_the_conversation() {
    let mut world = World::with_group();
    let speaks = |user: &str| say(user, "general", "next");
    assert!(!world.owner.takes_part(&speaks("alice")), "not asked yet");
    world.place(say("alice", "general", "1"));
    assert!(world.owner.takes_part(&speaks("alice")));
    world.join("mallory", Standing::Stranger, 1);
    world.code(say("mallory", "general", "1"));
    assert!(!world.owner.takes_part(&speaks("mallory")));
    world.place(change("general", EventKind::MemberRemoved, "alice goes"));
    assert!(
        !world.owner.takes_part(&speaks("alice")),
        "what is known of her is older than the last member event"
    );

    let by_service = change("general", EventKind::MembersAdded, "alice comes");
    assert!(!world.owner.takes_part(&by_service), "it decides who does");

    let named = send("alice", "bob", "1");
    assert!(world.owner.takes_part(&named));
    let place = named.conversation.conversation.to_string();
    world.place(named);
    assert!(world.owner.takes_part(&say("bob", &place, "1")));
    assert!(!world.owner.takes_part(&say("mallory", &place, "1")));
}
