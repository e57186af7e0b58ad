//! Groups as a whole.

use flare_core_gateway::handler::method::Method;
use flare_proto::common::ErrorCode;
use serde_json::{Value, json};

use super::{Asked, DENIED, Effect, OK, Row, STATE};
use crate::expect::Expect;

fn new(asked: &Asked<'_>, id: &str) -> Value {
    let mut request = json!({"conversationId": id, "clientId": asked.id, "title": "made"});
    if asked.is_system() {
        request["ownerId"] = json!(asked.stage.owner);
    }
    request
}

pub(super) fn rows() -> Vec<Row> {
    const TAKEN: Expect = Expect::Refused(ErrorCode::AlreadyExists);
    vec![
        Row::new(
            Method::CreateConversation,
            "",
            Effect::Spends,
            |it| new(it, &it.stage.new_room),
            [OK; 7],
            [OK; 4],
        ),
        Row::new(
            Method::CreateConversation,
            "under an id that is taken",
            Effect::Spends,
            |it| new(it, &it.stage.room),
            [TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, OK],
            [TAKEN, TAKEN, TAKEN, OK],
        ),
        Row::inside(
            Method::GetConversation,
            "",
            Effect::None,
            |it| json!({"conversationId": it.stage.room}),
            [OK; 3],
            [OK; 2],
        ),
        Row::direct(
            Method::GetConversation,
            Effect::None,
            |it| json!({"conversationId": it.stage.direct}),
            [OK; 2],
            [OK; 2],
        ),
        Row::ended(
            Method::GetConversation,
            |it| json!({"conversationId": it.stage.room}),
            OK,
            OK,
        ),
        Row::inside(
            Method::RenameConversation,
            "",
            Effect::Adds,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id, "title": it.id}),
            [OK, OK, DENIED],
            [OK; 2],
        ),
        Row::direct(
            Method::RenameConversation,
            Effect::None,
            |it| json!({"conversationId": it.stage.direct, "clientId": it.id, "title": it.id}),
            [STATE; 2],
            [STATE; 2],
        ),
        Row::inside(
            Method::DisbandConversation,
            "",
            Effect::Spends,
            |it| json!({"conversationId": it.stage.room, "clientId": it.id}),
            [OK, DENIED, DENIED],
            [OK; 2],
        ),
    ]
}
