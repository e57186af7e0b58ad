//! Pages and cursors.

use flare_proto::common::ErrorCode::{InvalidArgument, InvalidPageToken};
use serde_json::json;

use super::Row;
use crate::{
    ground::{Ground, SIDE, TEAM},
    surfaces::message::FRAME_ID,
};

const SESSION: &str = "flare.session.v1.SessionService";
const READER: &str = "flare.storage.v1.StorageReaderService";

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let cursors = &ground.cursors;
    let mut rows = Vec::new();
    // What has pages: its method, its request but for the page, its path.
    let paged = [
        (
            format!("{READER}/History"),
            json!({"conversationId": TEAM}),
            format!("/conversations/{TEAM}/messages"),
        ),
        (
            format!("{READER}/Snapshot"),
            json!({"conversationId": TEAM}),
            format!("/conversations/{TEAM}/snapshot"),
        ),
        (
            format!("{SESSION}/ListMembers"),
            json!({"conversationId": TEAM}),
            format!("/conversations/{TEAM}/members"),
        ),
        (
            format!("{SESSION}/ListPositions"),
            json!({"conversationId": TEAM}),
            format!("/conversations/{TEAM}/positions"),
        ),
        (
            format!("{SESSION}/SyncInbox"),
            json!({}),
            "/inbox".to_owned(),
        ),
    ];
    for (input, size) in [
        ("page size 0", 0_u32),
        ("page size 1000000000", 1_000_000_000),
    ] {
        let mut row = Row::new(input);
        for (method, request, path) in &paged {
            let mut request = request.clone();
            request["pageSize"] = json!(size);
            row = row.read(
                ground,
                method,
                &request,
                &format!("{path}?page_size={size}"),
                (InvalidArgument, "page_size"),
            );
        }
        rows.push(row);
        rows.push(
            Row::new(if size == 0 { "a range of 0" } else { "a range of 1000000000" })
                .frame(
                    ground,
                    &json!({"sync": {"id": FRAME_ID, "ranges": [{"conversationId": TEAM, "limit": size}]}}),
                    (InvalidArgument, "ranges.limit"),
                )
                .http(
                    ground,
                    "GET",
                    &format!("/conversations/{TEAM}/events?limit={size}"),
                    None,
                    (InvalidArgument, "limit"),
                )
                .grpc(
                    ground,
                    "ReadRanges",
                    &json!({"ranges": [{"conversationId": TEAM, "limit": size}]}),
                    (InvalidArgument, "ranges.limit"),
                ),
        );
    }
    for (input, method, kind, cursor) in [
        (
            "a history cursor of another conversation",
            format!("{READER}/History"),
            "messages",
            cursors.history.as_str(),
        ),
        (
            "a history cursor that is none",
            format!("{READER}/History"),
            "messages",
            "next",
        ),
        (
            "a members cursor of another conversation",
            format!("{SESSION}/ListMembers"),
            "members",
            &cursors.members,
        ),
        (
            "a members cursor that is none",
            format!("{SESSION}/ListMembers"),
            "members",
            "next",
        ),
    ] {
        rows.push(Row::new(input).read(
            ground,
            &method,
            &json!({"conversationId": SIDE, "pageToken": cursor}),
            &format!("/conversations/{SIDE}/{kind}?page_token={cursor}"),
            (InvalidPageToken, "page_token"),
        ));
    }
    rows.push(Row::new("an inbox token that is none").read(
        ground,
        &format!("{SESSION}/SyncInbox"),
        &json!({"token": "then"}),
        "/inbox?token=then",
        (InvalidPageToken, "token"),
    ));
    rows
}
