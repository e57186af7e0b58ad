//! Ids with control or path characters.

use flare_proto::{client::CloseReason, common::ErrorCode::InvalidArgument};
use serde_json::json;

use super::Row;
use crate::{
    ask::message,
    ground::{Ground, TEAM},
    surfaces::link,
};

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    for (of_conversations, of_users, of_clients, of_devices, bad) in [
        (
            "a conversation id with a NUL",
            "a user id with a NUL",
            "a client id with a NUL",
            "a device id with a NUL",
            "a\0b",
        ),
        (
            "a conversation id with a line break",
            "a user id with a line break",
            "a client id with a line break",
            "a device id with a line break",
            "a\nb",
        ),
        (
            "a conversation id that is a path",
            "a user id that is a path",
            "a client id that is a path",
            "a device id that is a path",
            "../../log",
        ),
        (
            "a conversation id of two dots",
            "a user id of two dots",
            "a client id of two dots",
            "a device id of two dots",
            "..",
        ),
        (
            "a conversation id that turns the text around",
            "a user id that turns the text around",
            "a client id that turns the text around",
            "a device id that turns the text around",
            "a\u{202e}b",
        ),
    ] {
        let to_user =
            json!({"userId": bad, "clientId": "bad-id", "content": {"text": {"text": "x"}}});
        rows.push(Row::new(of_conversations).send(
            ground,
            &message(bad, "bad-id", "x"),
            (InvalidArgument, "conversation_id"),
        ));
        rows.push(Row::new(of_users).send(ground, &to_user, (InvalidArgument, "user_id")));
        rows.push(Row::new(of_clients).send(
            ground,
            &message(TEAM, bad, "x"),
            (InvalidArgument, "client_id"),
        ));
        let connect = link::connect(&ground.tokens.ann, bad);
        rows.push(Row::new(of_devices).first(
            &connect,
            CloseReason::ProtocolError,
            (InvalidArgument, "device_id"),
        ));
    }
    let reader = "flare.storage.v1.StorageReaderService/History";
    rows.push(Row::new("a path in a path").read(
        ground,
        reader,
        &json!({"conversationId": "team/../closed"}),
        "/conversations/team%2F..%2Fclosed/messages",
        (InvalidArgument, "conversation_id"),
    ));
    rows.push(
        Row::new("an acting user that is a path")
            .http_with(
                ground.key_for("../ann"),
                "GET",
                "/inbox",
                None,
                (InvalidArgument, "x-flare-user"),
            )
            .grpc_with(
                ground.key_for("../ann"),
                "SyncInbox",
                &json!({}),
                (InvalidArgument, "x-flare-user"),
            ),
    );
    let members = json!({"clientId": "makes-bad", "conversationId": "bad-members", "memberIds": ["ben", "a/b"]});
    rows.push(Row::new("a member that is a path").command(
        ground,
        "flare.session.v1.SessionService/CreateConversation",
        &members,
        ("/conversations", &members),
        (InvalidArgument, "member_ids"),
    ));
    let group = json!({"clientId": "makes-bad", "conversationId": "d_team"});
    rows.push(Row::new("a group that would be direct").command(
        ground,
        "flare.session.v1.SessionService/CreateConversation",
        &group,
        ("/conversations", &group),
        (InvalidArgument, "conversation_id"),
    ));
    rows
}
