//! Who asks: tokens, devices and keys.

use flare_proto::{client::CloseReason, common::ErrorCode};
use serde_json::json;

use super::{Refused, Row};
use crate::{
    ask::message,
    ground::{ANN, BEN, CLOSED, Ground, TEAM},
    surfaces::{
        link,
        message::{FRAME_ID, Headers, bearer},
    },
};

/// A good message over HTTP and gRPC, with credentials that are not.
fn presented(row: Row, headers: &Headers, refused: Refused) -> Row {
    let fields = message(TEAM, "no-one", "let me in");
    row.http_with(headers.clone(), "POST", "/messages", Some(&fields), refused)
        .grpc_with(headers.clone(), "SendMessage", &fields, refused)
}

fn token(input: &'static str, token: &str, refused: Refused) -> Row {
    presented(
        Row::new(input).connect(token, "phone", refused),
        &bearer(token),
        refused,
    )
}

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    use ErrorCode::{
        DeviceMismatch, FailedPrecondition, PermissionDenied, ScopeMissing, TenantMismatch,
        TokenExpired, TokenRevoked, Unauthenticated,
    };
    let tokens = &ground.tokens;
    let refresh = |token: &str| json!({"refresh": {"id": FRAME_ID, "token": token}});
    let key = |secret: &str| vec![("x-api-key", secret.to_owned())];
    let read_messages = format!("/conversations/{TEAM}/messages");
    let as_ben = json!({"actor": {"kind": "ACTOR_KIND_USER", "userId": BEN}, "tenant": {"tenantId": "default"}});
    let mut tampered = tokens.ann.clone();
    tampered.replace_range(tampered.len() - 8.., "AAAAAAAA");

    vec![
        presented(
            Row::new("no token").connect("", "phone", (Unauthenticated, "token")),
            &Vec::new(),
            (Unauthenticated, ""),
        ),
        token("no token at all but a word", "letmein", (Unauthenticated, "token")),
        token("a token with another signature", &tampered, (Unauthenticated, "token")),
        token("an expired token", &tokens.ann_expired, (TokenExpired, "token")),
        token("a token of a tenant that is not here", &tokens.ann_of_no_tenant, (TenantMismatch, "token")),
        token("a revoked token", &tokens.revoked, (TokenRevoked, "token")),
        presented(
            Row::new("no scheme before the token"),
            &vec![("authorization", tokens.ann.clone())],
            (Unauthenticated, "authorization"),
        ),
        Row::new("a token of another tenant, in a conversation of this one")
            .frame_of(
                &tokens.ann_elsewhere,
                &json!({"send": {"id": FRAME_ID, "conversationId": TEAM, "clientId": "elsewhere", "content": {"text": {"text": "x"}}}}),
                (ErrorCode::ConversationNotFound, "conversation_id"),
            )
            .http_with(bearer(&tokens.ann_elsewhere), "GET", &read_messages, None, (ErrorCode::ConversationNotFound, "conversation_id"))
            .grpc_with(
                bearer(&tokens.ann_elsewhere),
                "SendMessage",
                &message(TEAM, "elsewhere", "x"),
                (ErrorCode::ConversationNotFound, "conversation_id"),
            ),
        Row::new("another user's device id: the token is bound to its own")
            .connect(&tokens.ann_on_her_phone, "bens-tablet", (DeviceMismatch, "device_id")),
        Row::new("another user's devices")
            .http(ground, "GET", &format!("/users/{BEN}/devices"), None, (PermissionDenied, "user_id"))
            .grpc(ground, "ListDevices", &json!({"userId": BEN}), (PermissionDenied, "user_id")),
        Row::new("a refresh by an expired token").frame(ground, &refresh(&tokens.ann_expired), (TokenExpired, "token")),
        Row::new("a refresh by another tenant's token")
            .frame(ground, &refresh(&tokens.ann_elsewhere), (TenantMismatch, "token")),
        Row::new("a refresh by another user's token").frame(ground, &refresh(&tokens.ben), (PermissionDenied, "token")),
        Row::new("a frame before Connect").first(
            &json!({"ping": {"id": FRAME_ID}}),
            CloseReason::ProtocolError,
            (Unauthenticated, ""),
        ),
        Row::new("a token that acts for another user").http_with(
            [bearer(&tokens.ann), vec![("x-flare-user", BEN.to_owned())]].concat(),
            "GET",
            "/inbox",
            None,
            (PermissionDenied, "x-flare-user"),
        )
        .grpc_with(
            [bearer(&tokens.ann), vec![("x-flare-user", BEN.to_owned())]].concat(),
            "SyncInbox",
            &json!({}),
            (PermissionDenied, "x-flare-user"),
        ),
        presented(Row::new("an API key that is none"), &key("letmein"), (Unauthenticated, "x-api-key")),
        presented(Row::new("a revoked API key"), &key(&ground.revoked_key), (Unauthenticated, "x-api-key")),
        presented(
            Row::new("a token and an API key"),
            &[bearer(&tokens.ann), key(&ground.reading_key)].concat(),
            (Unauthenticated, "x-api-key"),
        ),
        presented(Row::new("an API key without the scope"), &key(&ground.reading_key), (ScopeMissing, "")),
        Row::new("administration by a user's token")
            .http(ground, "POST", &format!("/admin/users/{BEN}/kick"), Some(&json!({})), (PermissionDenied, ""))
            .grpc(ground, "Kick", &json!({"userId": BEN}), (PermissionDenied, "")),
        // A Send in protobuf has no field for it; a Call has its request's context.
        Row::new("a sender in the payload that is not the token's")
            .bytes(
                ground,
                flare_core::codec::Codec::Json,
                json!({"send": {"id": FRAME_ID, "conversationId": TEAM, "clientId": "forged", "senderId": BEN, "content": {"text": {"text": "x"}}}})
                    .to_string(),
                (ErrorCode::InvalidArgument, "senderId"),
            )
            .call(
                ground,
                "flare.session.v1.SessionService/AddMembers",
                &json!({"context": as_ben, "conversationId": CLOSED, "clientId": "forged", "userIds": [ANN]}),
                (PermissionDenied, "context"),
            )
            .http(ground, "POST", "/messages", Some(&with(&message(TEAM, "forged", "x"), "senderId", json!(BEN))), (PermissionDenied, "sender_id"))
            .grpc(ground, "SendMessage", &with(&message(TEAM, "forged", "x"), "senderId", json!(BEN)), (PermissionDenied, "sender_id")),
        Row::new("a context in the payload that names an actor")
            .http(ground, "POST", "/messages", Some(&with(&message(TEAM, "forged", "x"), "context", as_ben.clone())), (PermissionDenied, "context"))
            .grpc(ground, "SendMessage", &with(&message(TEAM, "forged", "x"), "context", as_ben.clone()), (PermissionDenied, "context")),
        Row::new("a second Connect")
            .frame(ground, &link::connect(&tokens.ann, "phone"), (FailedPrecondition, "")),
    ]
}

fn with(fields: &serde_json::Value, name: &str, value: serde_json::Value) -> serde_json::Value {
    let mut fields = fields.clone();
    fields[name] = value;
    fields
}
