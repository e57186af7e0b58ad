//! Contents that are too small or too big.

use flare_proto::common::ErrorCode::{
    ContentTooLarge, FrameTooLarge, InvalidArgument, LimitExceeded,
};
use serde_json::json;

use super::Row;
use crate::{
    ask::message,
    ground::{Ground, TEAM},
    surfaces::message::FRAME_ID,
};

const A_MEBIBYTE: usize = 1_024 * 1_024;
/// More than a content may have, and less than a frame.
const A_LITTLE_MORE: usize = 70_000;

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let big = message(TEAM, "big", &"x".repeat(A_MEBIBYTE));
    let mut big_frame = big.clone();
    big_frame["id"] = json!(FRAME_ID);
    let mentions = vec![json!({"userId": "ben"}); 51];
    vec![
        Row::new("an empty text").send(ground, &message(TEAM, "empty", ""), (InvalidArgument, "content.text.text")),
        Row::new("a text of 1 MiB")
            .frame(ground, &json!({"send": big_frame}), (FrameTooLarge, ""))
            .http(ground, "POST", "/messages", Some(&big), (ContentTooLarge, "content"))
            .grpc(ground, "SendMessage", &big, (ContentTooLarge, "content")),
        Row::new("a text that is a little too long").send(
            ground,
            &message(TEAM, "big", &"x".repeat(A_LITTLE_MORE)),
            (ContentTooLarge, "content"),
        ),
        Row::new("no content").send(
            ground,
            &json!({"conversationId": TEAM, "clientId": "nothing"}),
            (InvalidArgument, "content"),
        ),
        Row::new("too many mentions").send(
            ground,
            &json!({"conversationId": TEAM, "clientId": "loud", "content": {"text": {"text": "x"}, "mentions": mentions}}),
            (LimitExceeded, "content.mentions"),
        ),
    ]
}
