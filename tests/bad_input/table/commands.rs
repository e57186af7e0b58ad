//! Client ids, and what stands under them.

use std::time::Duration;

use flare_proto::common::ErrorCode::{
    AlreadyExists, ClientIdInFuture, InvalidArgument, MessageNotFound,
};
use flare_server_core::clock::{Clock, SystemClock};
use serde_json::json;
use ulid::Ulid;

use super::Row;
use crate::{
    ask::message,
    ground::{Ground, SAID, TEAM},
    surfaces::message::FRAME_ID,
};

const AN_HOUR: Duration = Duration::from_secs(3_600);

/// A ULID and a UUIDv7 that were made in an hour from now.
fn of_the_future() -> (String, String) {
    let now_ms = u64::try_from(SystemClock.now_ms()).expect("after 1970");
    let then_ms = now_ms + u64::try_from(AN_HOUR.as_millis()).expect("small");
    let hex = format!("{then_ms:012x}");
    (
        Ulid::from_parts(then_ms, 7).to_string(),
        format!("{}-{}-7abc-8abc-0123456789ab", &hex[..8], &hex[8..]),
    )
}

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let (ulid, uuid) = of_the_future();
    let recall = json!({"clientId": "recalls", "seq": "1000000"});
    let recall_seq = |seq: &str| json!({"operate": {"id": FRAME_ID, "conversationId": TEAM, "clientId": "recalls", "recall": {"seq": seq}}});
    let mut recall_in_team = recall;
    recall_in_team["conversationId"] = json!(TEAM);
    vec![
        Row::new("the same client id with other content").send(
            ground,
            &message(TEAM, SAID.0, "other content"),
            (AlreadyExists, "client_id"),
        ),
        Row::new("a client id minted in the future: a ULID").send(
            ground,
            &message(TEAM, &ulid, "too soon"),
            (ClientIdInFuture, "client_id"),
        ),
        Row::new("a client id minted in the future: a UUIDv7").send(
            ground,
            &message(TEAM, &uuid, "too soon"),
            (ClientIdInFuture, "client_id"),
        ),
        Row::new("a client id of the services' own").send(
            ground,
            &message(TEAM, "flare:outbox", "not mine"),
            (InvalidArgument, "client_id"),
        ),
        Row::new("no client id").send(ground, &message(TEAM, "", "no id"), (InvalidArgument, "client_id")),
        Row::new("neither a conversation nor a user").send(
            ground,
            &message("", "to-nobody", "hello?"),
            (InvalidArgument, "conversation_id"),
        ),
        Row::new("a conversation and a user").send(
            ground,
            &json!({"conversationId": TEAM, "userId": "ben", "clientId": "to-both", "content": {"text": {"text": "x"}}}),
            (InvalidArgument, "user_id"),
        ),
        Row::new("recalling what is not there")
            .frame(ground, &recall_seq("1000000"), (MessageNotFound, "seq"))
            .http(
                ground,
                "POST",
                &format!("/conversations/{TEAM}/messages/1000000/recall"),
                Some(&json!({"clientId": "recalls"})),
                (MessageNotFound, "seq"),
            )
            .grpc(ground, "RecallMessage", &recall_in_team, (MessageNotFound, "seq")),
        Row::new("recalling seq 0")
            .frame(ground, &recall_seq("0"), (InvalidArgument, "recall.seq"))
            .http(
                ground,
                "POST",
                &format!("/conversations/{TEAM}/messages/0/recall"),
                Some(&json!({"clientId": "recalls"})),
                (InvalidArgument, "seq"),
            )
            .grpc(
                ground,
                "RecallMessage",
                &json!({"conversationId": TEAM, "clientId": "recalls"}),
                (InvalidArgument, "seq"),
            ),
        Row::new("a request without an id").frame(
            ground,
            &json!({"send": {"conversationId": TEAM, "clientId": "no-id", "content": {"text": {"text": "x"}}}}),
            (InvalidArgument, "id"),
        ),
    ]
}
