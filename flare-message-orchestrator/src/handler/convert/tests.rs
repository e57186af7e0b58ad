use flare_proto::message::{
    Content, ConversationChange, ConversationClass, EventMember, MembersAdded, RecallCommand,
    SubmitItem, Text, content::Kind,
};

use super::*;
use crate::handler::Contents;

const RULES: Contents = Contents {
    max_bytes: 65_536,
    max_mentions: 50,
};

fn text(text: &str) -> submit_item::Command {
    let content = Content {
        kind: Some(Kind::Text(Text {
            text: text.to_owned(),
        })),
        ..Content::default()
    };
    submit_item::Command::Send(content.encode_to_vec().into())
}

fn actor(kind: common::ActorKind, user: &str) -> common::Actor {
    common::Actor {
        kind: kind.into(),
        user_id: user.to_owned(),
        device_id: String::new(),
    }
}

fn item() -> SubmitItem {
    SubmitItem {
        correlation: 5,
        lane: 6,
        lane_generation: 7,
        tenant_id: "default".to_owned(),
        actor: Some(actor(common::ActorKind::User, "alice")),
        conversation_id: "general".to_owned(),
        peer_user_id: String::new(),
        client_id: "1".to_owned(),
        trace_id: Bytes::new(),
        command: Some(text("hi")),
    }
}

fn added(kind: EventKind) -> submit_item::Command {
    let members = vec![EventMember {
        user_id: "bob".to_owned(),
        role: 3,
    }];
    let body = EventBody {
        body: Some(Body::MembersAdded(MembersAdded {
            members,
            ..MembersAdded::default()
        })),
    };
    let class = ConversationClass::Group.into();
    submit_item::Command::Change(ConversationChange {
        kind: kind.into(),
        class,
        body: body.encode_to_vec().into(),
    })
}

fn service_item() -> SubmitItem {
    SubmitItem {
        actor: Some(actor(common::ActorKind::Service, "alice")),
        client_id: "flare:1".to_owned(),
        command: Some(added(EventKind::MembersAdded)),
        ..item()
    }
}

fn refused(item: SubmitItem) -> (ErrorCode, String) {
    let refusal = command(item, &RULES).expect_err("refused");
    (refusal.code, refusal.field.into_owned())
}

#[test]
fn what_is_wrong_is_named() {
    use common::ActorKind::{Api, Service, System, Unspecified, User};
    let wrong = [
        (
            SubmitItem {
                tenant_id: "Default".into(),
                ..item()
            },
            "tenant_id",
        ),
        (
            SubmitItem {
                tenant_id: String::new(),
                ..item()
            },
            "tenant_id",
        ),
        (
            SubmitItem {
                actor: None,
                ..item()
            },
            "actor.kind",
        ),
        (
            SubmitItem {
                actor: Some(actor(Unspecified, "alice")),
                ..item()
            },
            "actor.kind",
        ),
        (
            SubmitItem {
                actor: Some(actor(User, "a/b")),
                ..item()
            },
            "actor.user_id",
        ),
        (
            SubmitItem {
                actor: Some(actor(Api, "")),
                ..item()
            },
            "actor.user_id",
        ),
        (
            SubmitItem {
                actor: Some(actor(System, "alice")),
                ..item()
            },
            "actor.user_id",
        ),
        (
            SubmitItem {
                client_id: String::new(),
                ..item()
            },
            "client_id",
        ),
        (
            SubmitItem {
                client_id: "a\nb".into(),
                ..item()
            },
            "client_id",
        ),
        (
            SubmitItem {
                client_id: "flare:1".into(),
                ..item()
            },
            "client_id",
        ),
        (
            SubmitItem {
                client_id: "1".into(),
                ..service_item()
            },
            "client_id",
        ),
        (
            SubmitItem {
                trace_id: Bytes::from_static(b"short"),
                ..item()
            },
            "trace_id",
        ),
        (
            SubmitItem {
                conversation_id: String::new(),
                ..item()
            },
            "conversation_id",
        ),
        (
            SubmitItem {
                conversation_id: "..".into(),
                ..item()
            },
            "conversation_id",
        ),
        (
            SubmitItem {
                peer_user_id: "bob".into(),
                ..item()
            },
            "conversation_id",
        ),
        (
            SubmitItem {
                conversation_id: String::new(),
                peer_user_id: "alice".into(),
                ..item()
            },
            "user_id",
        ),
        (
            SubmitItem {
                conversation_id: String::new(),
                peer_user_id: "b b".into(),
                ..item()
            },
            "user_id",
        ),
        (
            SubmitItem {
                actor: Some(actor(System, "")),
                conversation_id: String::new(),
                peer_user_id: "bob".into(),
                ..item()
            },
            "user_id",
        ),
        (
            SubmitItem {
                command: None,
                ..item()
            },
            "command",
        ),
        (
            SubmitItem {
                command: Some(text("")),
                ..item()
            },
            "content.text",
        ),
        (
            SubmitItem {
                command: Some(submit_item::Command::Recall(RecallCommand { seq: 0 })),
                ..item()
            },
            "seq",
        ),
        (
            SubmitItem {
                command: Some(added(EventKind::MemberLeft)),
                ..service_item()
            },
            "change.kind",
        ),
        (
            SubmitItem {
                conversation_id: "d_abc".into(),
                ..service_item()
            },
            "conversation_id",
        ),
    ];
    for (item, field) in wrong {
        let shown = format!("{item:?}");
        assert_eq!(
            refused(item),
            (ErrorCode::InvalidArgument, field.to_owned()),
            "{shown}"
        );
    }
    let as_service = Some(actor(Service, ""));
    assert_eq!(
        refused(SubmitItem {
            command: Some(added(EventKind::MembersAdded)),
            ..item()
        })
        .0,
        ErrorCode::PermissionDenied
    );
    let speaks = SubmitItem {
        actor: as_service,
        command: Some(text("hi")),
        ..service_item()
    };
    assert_eq!(refused(speaks).0, ErrorCode::PermissionDenied);
}

#[test]
fn a_peer_makes_the_direct_conversation_of_both() {
    let to = |from: &str, peer: &str| {
        let item = SubmitItem {
            actor: Some(actor(common::ActorKind::User, from)),
            conversation_id: String::new(),
            peer_user_id: peer.to_owned(),
            ..item()
        };
        command(item, &RULES).expect("a command")
    };
    let (one, other) = (to("alice", "bob"), to("bob", "alice"));
    assert_eq!(one.conversation, other.conversation);
    assert_eq!(one.participants, Some(["alice".into(), "bob".into()]));
    assert_eq!(one.participants, other.participants);
    assert_eq!(
        *one.conversation.conversation,
        *direct_conversation_id("default", "alice", "bob")
    );
}

#[test]
fn a_content_crosses_as_it_is_and_makes_the_fingerprint() {
    let one = command(item(), &RULES).expect("a command");
    let submit_item::Command::Send(sent) = text("hi") else {
        panic!("a content")
    };
    let Action::Send { content, .. } = &one.action else {
        panic!("a message")
    };
    assert_eq!(*content, sent);
    assert!(one.body.ends_with(&sent));
    assert_eq!(
        (
            one.origin.correlation,
            one.origin.lane,
            one.origin.lane_generation
        ),
        (5, 6, 7)
    );
    let other = command(
        SubmitItem {
            command: Some(text("ho")),
            ..item()
        },
        &RULES,
    )
    .expect("a command");
    assert_ne!(one.fingerprint, other.fingerprint);
    let recall = |seq| SubmitItem {
        command: Some(submit_item::Command::Recall(RecallCommand { seq })),
        ..item()
    };
    let prints = [1, 2].map(|seq| command(recall(seq), &RULES).expect("a command").fingerprint);
    assert_ne!(prints[0], prints[1]);
}

#[test]
fn a_services_change_keeps_its_body() {
    let one = command(service_item(), &RULES).expect("a command");
    assert_eq!(
        one.action,
        Action::Change {
            kind: EventKind::MembersAdded,
            class: ConversationClass::Group
        }
    );
    assert!(matches!(
        EventBody::decode(one.body).expect("a body").body,
        Some(Body::MembersAdded(_))
    ));
}
