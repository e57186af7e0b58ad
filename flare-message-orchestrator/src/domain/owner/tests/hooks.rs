use flare_proto::common::ErrorCode;

use crate::domain::owner::{testing::*, *};

const IS_HOOK: Held = |it| matches!(it, Output::AskHooks { .. });

fn world() -> World {
    let mut world = World::owning_with(OwnerConfig {
        hooks: true,
        ..config()
    });
    world.create_group();
    world.hold = IS_HOOK;
    world
}

/// The hook that was asked last, and what about.
fn asked(world: &mut World) -> (u64, Box<Command>) {
    match world.held.pop() {
        Some(Output::AskHooks { hook, command }) => (hook, command),
        other => panic!("no hook is asked but {other:?}"),
    }
}

#[test]
fn without_hooks_nobody_is_asked() {
    let mut world = World::owning();
    world.place(send("alice", "bob", "1"));
    assert_eq!(world.count(IS_HOOK), 0);
}

#[test]
fn a_message_waits_for_its_hooks_and_so_do_the_senders_next_ones() {
    let mut world = world();
    world.submit([
        say("alice", "general", "1"),
        say("alice", "general", "2"),
        say("bob", "general", "3"),
    ]);
    let ids: Vec<_> = world
        .held
        .iter()
        .map(|it| {
            if let Output::AskHooks { command, .. } = it {
                command.client_id.to_string()
            } else {
                String::new()
            }
        })
        .collect();
    assert_eq!(ids, ["1", "3"], "different senders at the same time");
    let (hook, _) = asked(&mut world);
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Continue,
    });
    let (hook, _) = asked(&mut world);
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Continue,
    });
    let (hook, command) = asked(&mut world);
    assert_eq!(&*command.client_id, "2");
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Continue,
    });
    let order: Vec<_> = world.events()[1..]
        .iter()
        .map(|it| it.header().client_id.clone())
        .collect();
    assert_eq!(order, ["3", "1", "2"]);
}

#[test]
fn a_hook_may_amend_and_the_retry_is_still_the_same_command() {
    let mut world = world();
    world.submit([say("alice", "general", "1")]);
    let (hook, _) = asked(&mut world);
    let body = Bytes::from_static(b"\x0a\x02hi");
    let verdict = HookVerdict::Amended {
        content: body.slice(2..),
        body: body.clone(),
        mentions: vec!["bob".into()],
        mention_all: false,
    };
    world.step(Input::HooksAnswered { hook, verdict });
    let events = world.events();
    let event = events.last().expect("placed");
    assert_eq!(event.header().mentions, ["bob"]);
    assert!(event.event().ends_with(&body));
    let again = world.answer(say("alice", "general", "1")).expect("known");
    assert!(again.duplicate);
    assert!(world.held.is_empty(), "a repetition is not shown to hooks");
}

#[test]
fn a_hook_may_stop_and_the_next_one_goes_on() {
    let mut world = world();
    world.submit([say("alice", "general", "1"), say("alice", "general", "2")]);
    let (hook, _) = asked(&mut world);
    let refusal = Refusal::new(ErrorCode::StoppedByHook, "not here");
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Stop(refusal.clone()),
    });
    assert_eq!(world.answered.last().expect("answered").1, Err(refusal));
    let (hook, command) = asked(&mut world);
    assert_eq!(&*command.client_id, "2");
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Continue,
    });
    assert_eq!(world.events().len(), 2);
}

#[test]
fn hooks_see_only_what_is_allowed() {
    let mut world = world();
    world.join("mallory", Standing::Stranger, 1);
    assert_eq!(
        world.code(say("mallory", "general", "1")),
        ErrorCode::ConversationNotFound
    );
    world.place(change("general", EventKind::ConversationRenamed, "1"));
    assert!(world.held.is_empty());
}

#[test]
fn who_became_a_member_meanwhile_is_shown_to_hooks() {
    let mut world = world();
    world.join("mia", Standing::Stranger, 1);
    world.hold = |it| {
        matches!(
            it,
            Output::AskHooks { .. } | Output::Append { events: 1.., .. }
        )
    };
    world.submit([
        change("general", EventKind::MembersAdded, "1"),
        say("mia", "general", "1"),
    ]);
    world.join("mia", Standing::Active(Role::Member), 2);
    world.hold = IS_HOOK;
    let held = std::mem::take(&mut world.held);
    for output in held {
        if let Some(input) = world.perform(output) {
            world.step(input);
        }
    }
    let (hook, command) = asked(&mut world);
    assert_eq!(&*command.actor.user, "mia");
    world.step(Input::HooksAnswered {
        hook,
        verdict: HookVerdict::Continue,
    });
    assert_eq!(
        world.events().last().expect("placed").header().sender_id,
        "mia"
    );
}
