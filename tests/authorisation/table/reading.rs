//! What is read, and how far.

use flare_core_gateway::handler::method::Method;
use flare_proto::common::ErrorCode;
use serde_json::{Value, json};

use super::{Asked, Effect, OK, Row, UNKNOWN, WHO};
use crate::expect::Expect;

const WHOLE: Expect = Expect::Whole;
const UNTIL: Expect = Expect::UntilGone;
const WITHOUT: Expect = Expect::Without;

/// Of a call that shows messages: those who have gone read what there was.
fn shows(method: Method, request: fn(&Asked<'_>) -> Value) -> Row {
    Row::new(
        method,
        "",
        Effect::None,
        request,
        [WHOLE, WHOLE, WHOLE, UNTIL, UNTIL, UNKNOWN, UNKNOWN],
        [WHOLE, WHOLE, UNKNOWN, UNKNOWN],
    )
}

pub(super) fn rows() -> Vec<Row> {
    const BEYOND: Expect = Expect::Refused(ErrorCode::PositionBeyondHead);
    vec![
        Row::new(
            Method::SyncInbox,
            "",
            Effect::None,
            |_| json!({}),
            [WHOLE, WHOLE, WHOLE, UNTIL, UNTIL, WITHOUT, WITHOUT],
            [WHO, WHOLE, WITHOUT, WITHOUT],
        ),
        shows(
            Method::ReadRanges,
            |it| json!({"ranges": [{"conversationId": it.stage.room, "afterSeq": "1"}]}),
        ),
        shows(
            Method::History,
            |it| json!({"conversationId": it.stage.room}),
        ),
        Row {
            about: "in a disbanded group",
            has_ended: true,
            ..shows(
                Method::History,
                |it| json!({"conversationId": it.stage.room}),
            )
        },
        Row::direct(
            Method::History,
            Effect::None,
            |it| json!({"conversationId": it.stage.direct}),
            [OK; 2],
            [OK; 2],
        ),
        shows(
            Method::Snapshot,
            |it| json!({"conversationId": it.stage.room}),
        ),
        Row::new(
            Method::MarkRead,
            "what everybody could read",
            Effect::Adds,
            |it| json!({"conversationId": it.stage.room, "seq": it.stage.early_seq.to_string()}),
            [OK, OK, OK, OK, OK, UNKNOWN, UNKNOWN],
            [WHO, OK, UNKNOWN, UNKNOWN],
        ),
        Row::new(
            Method::MarkRead,
            "what was said after some had gone",
            Effect::Adds,
            |it| json!({"conversationId": it.stage.room, "seq": it.stage.late_seq.to_string()}),
            [OK, OK, OK, BEYOND, BEYOND, UNKNOWN, UNKNOWN],
            [WHO, OK, UNKNOWN, UNKNOWN],
        ),
        Row::direct(
            Method::MarkRead,
            Effect::Adds,
            |it| json!({"conversationId": it.stage.direct, "seq": "1"}),
            [OK; 2],
            [WHO, OK],
        ),
        Row::inside(
            Method::ListPositions,
            "",
            Effect::None,
            |it| json!({"conversationId": it.stage.room}),
            [OK; 3],
            [OK; 2],
        ),
        Row::new(
            Method::UpdateSettings,
            "",
            Effect::Adds,
            |it| json!({"conversationId": it.stage.room, "pinned": true}),
            [OK, OK, OK, OK, OK, UNKNOWN, UNKNOWN],
            [WHO, OK, UNKNOWN, UNKNOWN],
        ),
    ]
}
