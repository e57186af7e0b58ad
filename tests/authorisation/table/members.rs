//! Members and roles.

use flare_core_gateway::handler::method::Method;
use serde_json::{Value, json};

use super::{Asked, DENIED, ENDED, Effect, OK, Row, STATE, UNKNOWN, WHO};

fn about(asked: &Asked<'_>, user: &str) -> Value {
    json!({"conversationId": asked.stage.room, "clientId": asked.id, "userId": user})
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::inside(
            Method::ListMembers,
            "",
            Effect::None,
            |it| json!({"conversationId": it.stage.room}),
            [OK; 3],
            [OK; 2],
        ),
        Row::inside(
            Method::AddMembers,
            "",
            Effect::Adds,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id, "userIds": [it.id]}),
            [OK, OK, DENIED],
            [OK; 2],
        ),
        Row::inside(
            Method::AddMembers,
            "oneself",
            Effect::Adds,
            |it| {
                let own = match it.caller {
                    crate::caller::Caller::Left => &it.stage.left,
                    crate::caller::Caller::Removed => &it.stage.removed,
                    _ => &it.stage.stranger,
                };
                json!({"conversationId": it.stage.room, "clientId": it.id, "userIds": [own]})
            },
            [OK, OK, DENIED],
            [OK; 2],
        ),
        Row::ended(
            Method::AddMembers,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id, "userIds": [it.id]}),
            ENDED,
            ENDED,
        ),
        Row::direct(
            Method::AddMembers,
            Effect::None,
            |it| json!({"conversationId": it.stage.direct, "clientId": it.id, "userIds": [it.id]}),
            [STATE; 2],
            [STATE; 2],
        ),
        Row::inside(
            Method::RemoveMember,
            "a member",
            Effect::Spends,
            |it| about(it, crate::ground::LOST),
            [OK, OK, DENIED],
            [OK; 2],
        ),
        Row::inside(
            Method::RemoveMember,
            "an admin",
            Effect::Spends,
            |it| about(it, &it.stage.deputy),
            [OK, DENIED, DENIED],
            [OK; 2],
        ),
        Row::inside(
            Method::RemoveMember,
            "the owner",
            Effect::None,
            |it| about(it, &it.stage.owner),
            // Nobody removes himself.
            [WHO, DENIED, DENIED],
            [STATE, WHO],
        ),
        Row::new(
            Method::LeaveConversation,
            "",
            Effect::Spends,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id}),
            [STATE, OK, OK, super::GONE, super::GONE, UNKNOWN, UNKNOWN],
            [WHO, STATE, UNKNOWN, UNKNOWN],
        ),
        Row::ended(
            Method::LeaveConversation,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id}),
            ENDED,
            WHO,
        ),
        Row::inside(
            Method::SetRole,
            "",
            Effect::Adds,
            |it| {
                let mut request = about(it, &it.stage.member);
                request["role"] = json!("ADMIN");
                request
            },
            [OK, DENIED, DENIED],
            [OK; 2],
        ),
        Row::inside(
            Method::TransferOwnership,
            "",
            Effect::Spends,
            |it| about(it, &it.stage.member),
            [OK, DENIED, DENIED],
            [OK; 2],
        ),
    ]
}
