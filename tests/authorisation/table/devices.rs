//! Who is online, and on which devices.

use flare_core_gateway::handler::method::Method;
use serde_json::json;

use super::{DENIED, Effect, OK, Row, WHO};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new(
            Method::GetPresence,
            "of a user of the same tenant",
            Effect::None,
            |it| json!({"userIds": [it.stage.other]}),
            [OK; 7],
            [OK; 4],
        ),
        Row::new(
            Method::ListDevices,
            "one's own",
            Effect::None,
            |_| json!({}),
            [OK; 7],
            [WHO, OK, OK, WHO],
        ),
        Row::new(
            Method::ListDevices,
            "another user's",
            Effect::None,
            |it| json!({"userId": it.stage.other}),
            [DENIED; 7],
            [OK, DENIED, DENIED, OK],
        ),
        Row::new(
            Method::SignOut,
            "one's own device",
            Effect::Adds,
            |_| json!({"deviceId": "tablet"}),
            [OK; 7],
            [WHO, OK, OK, OK],
        ),
    ]
}
