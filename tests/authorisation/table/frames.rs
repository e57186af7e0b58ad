//! Frames of the client link that are no calls of a service.

use serde_json::{Value, json};

use super::{Asked, Call, Effect, OK, Row};
use crate::{
    expect::{Expect, Expectations},
    surfaces::message::FRAME_ID,
};

const DROPPED: Expect = Expect::Dropped;

fn row(
    frame: &'static str,
    about: &'static str,
    effect: Effect,
    request: fn(&Asked<'_>) -> Value,
    known: [Expect; 7],
) -> Row {
    Row {
        call: Call::Frame(frame),
        about,
        request,
        expects: Expectations::of_frame(known),
        effect,
        has_ended: false,
    }
}

pub(super) fn rows() -> Vec<Row> {
    let in_room = [OK, OK, OK, DROPPED, DROPPED, DROPPED, DROPPED];
    vec![
        // The frame is sent by every cell of the link, as the first one: here nothing follows it.
        row(
            "connect",
            "",
            Effect::None,
            |_| json!({"ping": {"id": FRAME_ID}}),
            [OK; 7],
        ),
        row(
            "ping",
            "",
            Effect::None,
            |_| json!({"ping": {"id": FRAME_ID}}),
            [OK; 7],
        ),
        row(
            "refresh",
            "with another token of one's own",
            Effect::None,
            |it| json!({"refresh": {"id": FRAME_ID, "token": it.token}}),
            [OK; 7],
        ),
        row(
            "ack",
            "",
            Effect::Adds,
            |it| {
                json!({"ack": {"positions": [{
                    "conversationId": it.stage.room,
                    "seq": it.stage.early_seq.to_string(),
                }]}})
            },
            in_room,
        ),
        row(
            "signal",
            "typing",
            Effect::None,
            |it| json!({"signal": {"conversationId": it.stage.room, "typing": {"active": true}}}),
            in_room,
        ),
        // Of one's own device, and nobody is told: what it brings is told to members alone.
        row(
            "signal",
            "viewing",
            Effect::None,
            |it| json!({"signal": {"conversationId": it.stage.room, "viewing": {"active": true}}}),
            [OK; 7],
        ),
    ]
}
