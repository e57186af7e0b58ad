//! What is said and taken back.

use flare_core_gateway::handler::method::Method;
use serde_json::{Value, json};

use super::{Asked, DENIED, ENDED, Effect, OK, Row, UNKNOWN, WHO};

fn content() -> Value {
    json!({"text": {"text": "hello"}})
}

fn said(asked: &Asked<'_>) -> Value {
    json!({"conversationId": asked.stage.room, "clientId": asked.id, "content": content()})
}

fn recall(asked: &Asked<'_>, seq: u64) -> Value {
    json!({"conversationId": asked.stage.room, "clientId": asked.id, "seq": seq.to_string()})
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::inside(
            Method::SendMessage,
            "to a conversation",
            Effect::Adds,
            said,
            [OK; 3],
            [OK; 2],
        ),
        Row::new(
            Method::SendMessage,
            "to a user of the same tenant",
            Effect::Adds,
            |it| json!({"userId": it.stage.other, "clientId": it.id, "content": content()}),
            [OK; 7],
            // The system is no participant of a direct conversation.
            [WHO, OK, OK, WHO],
        ),
        Row::direct(
            Method::SendMessage,
            Effect::Adds,
            |it| json!({"conversationId": it.stage.direct, "clientId": it.id, "content": content()}),
            [OK; 2],
            [OK; 2],
        ),
        Row::ended(Method::SendMessage, said, ENDED, ENDED),
        Row::new(
            Method::SendMessage,
            "in the name of a member",
            Effect::Adds,
            |it| {
                let mut said = said(it);
                said["senderId"] = json!(it.stage.member);
                said
            },
            [DENIED, DENIED, OK, DENIED, DENIED, DENIED, DENIED],
            [OK, DENIED, DENIED, UNKNOWN],
        ),
        Row::inside(
            Method::SendMessages,
            "to a conversation",
            Effect::Adds,
            |it| json!({"messages": [said(it)]}),
            [OK; 3],
            [OK; 2],
        ),
        Row::inside(
            Method::RecallMessage,
            "what a member has said",
            Effect::Spends,
            |it| recall(it, it.stage.early_seq),
            [OK; 3],
            [OK; 2],
        ),
        Row::inside(
            Method::RecallMessage,
            "what the owner has said",
            Effect::Spends,
            |it| recall(it, it.stage.owners_seq),
            [OK, OK, DENIED],
            [OK; 2],
        ),
        Row::ended(
            Method::RecallMessage,
            |it| recall(it, it.stage.early_seq),
            ENDED,
            ENDED,
        ),
        Row::direct(
            Method::RecallMessage,
            Effect::Spends,
            // The owner's greeting.
            |it| json!({"conversationId": it.stage.direct, "clientId": it.id, "seq": "1"}),
            [OK, DENIED],
            [OK; 2],
        ),
    ]
}
