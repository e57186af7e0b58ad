//! What API keys with the scope `admin` do.

use flare_core_gateway::handler::method::Method;
use flare_proto::common::ErrorCode;
use serde_json::{Value, json};

use super::{Asked, DENIED, Effect, OK, Row, WHO};
use crate::expect::Expect;

/// Not for users, nor in a user's name.
fn row(
    method: Method,
    effect: Effect,
    request: fn(&Asked<'_>) -> Value,
    other_tenants_key: Expect,
) -> Row {
    let keys = [OK, WHO, WHO, other_tenants_key];
    Row::new(method, "", effect, request, [DENIED; 7], keys)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            Method::Kick,
            Effect::Adds,
            |it| json!({"userId": it.stage.other}),
            OK,
        ),
        row(
            Method::Revoke,
            Effect::Adds,
            |it| json!({"userId": it.stage.other}),
            OK,
        ),
        row(
            Method::ExplainMessage,
            Effect::None,
            |it| json!({"messageId": it.stage.early_id}),
            Expect::Refused(ErrorCode::MessageNotFound),
        ),
        row(
            Method::CreateApiKey,
            Effect::Adds,
            |it| json!({"name": it.stage.room, "scopes": ["read"]}),
            OK,
        ),
        row(Method::ListApiKeys, Effect::None, |_| json!({}), OK),
        row(
            Method::RevokeApiKey,
            Effect::Spends,
            |it| json!({"keyId": it.stage.key_id}),
            Expect::Refused(ErrorCode::NotFound),
        ),
    ]
}
