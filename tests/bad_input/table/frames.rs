//! Bytes that are no request, or not this contract's.

use flare_core::codec::Codec::{self, Json, Proto};
use flare_proto::common::ErrorCode::{
    FrameTooLarge, InvalidArgument, MalformedFrame, NotFound, Unimplemented, UnknownMethod,
};
use serde_json::{Value, json};

use super::{Refused, Row};
use crate::{
    ask::{Ask, message},
    ground::{Ground, TEAM},
    surfaces::message::{self as wire, FRAME_ID, bearer},
};

/// More than a frame may have.
const TOO_BIG_FRAME: usize = 262_144 + 1;
/// More than a body may have.
const TOO_BIG_BODY: usize = 4 * 1_024 * 1_024 + 1;

impl Row {
    /// A message's place over HTTP, with any bytes.
    fn http_bytes(self, ground: &Ground, body: impl Into<Vec<u8>>, refused: Refused) -> Self {
        let (path, headers) = ("/api/v1/messages".to_owned(), bearer(&ground.tokens.ann));
        self.cell(
            Ask::Http {
                verb: "POST",
                path,
                headers,
                body: body.into(),
            },
            refused,
        )
    }

    /// A method over gRPC, with any bytes.
    fn grpc_bytes(
        self,
        ground: &Ground,
        method: &str,
        body: impl Into<Vec<u8>>,
        refused: Refused,
    ) -> Self {
        let (method, headers) = (method.to_owned(), bearer(&ground.tokens.ann));
        self.cell(
            Ask::Grpc {
                method,
                headers,
                body: body.into(),
            },
            refused,
        )
    }
}

/// A good message as a frame in JSON, its fields as given.
fn send(fields: &Value) -> Value {
    let mut send = fields.clone();
    send["id"] = json!(FRAME_ID);
    json!({"send": send})
}

fn cut(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() - 3].to_vec()
}

pub(super) fn rows(ground: &Ground) -> Vec<Row> {
    let good = message(TEAM, "no-frame", "hello");
    let good_frame = send(&good);
    let request = wire::proto("flare.gateway.v1.SendMessageRequest", &good);
    let strange = |name: &str, value: Value| {
        let mut fields = good.clone();
        fields[name] = value;
        fields
    };
    let json_only = |input, fields: Value, field| {
        Row::new(input)
            .bytes(
                ground,
                Json,
                send(&fields).to_string(),
                (InvalidArgument, field),
            )
            .http(
                ground,
                "POST",
                "/messages",
                Some(&fields),
                (InvalidArgument, field),
            )
    };
    vec![
        Row::new("bytes that are no frame")
            .bytes(ground, Proto, vec![0xff_u8; 16], (MalformedFrame, ""))
            .bytes(ground, Json, "hello there {", (MalformedFrame, ""))
            .http_bytes(ground, "hello there {", (MalformedFrame, ""))
            .grpc_bytes(ground, "SendMessage", vec![0xff_u8; 16], (MalformedFrame, "")),
        Row::new("a frame too big")
            .bytes(ground, Proto, vec![0_u8; TOO_BIG_FRAME], (FrameTooLarge, ""))
            .bytes(ground, Json, " ".repeat(TOO_BIG_FRAME), (FrameTooLarge, ""))
            .http_bytes(ground, vec![b' '; TOO_BIG_BODY], (FrameTooLarge, ""))
            .grpc_bytes(ground, "SendMessage", vec![0_u8; TOO_BIG_BODY], (FrameTooLarge, "")),
        Row::new("a truncated frame")
            .bytes(ground, Proto, cut(&wire::frame(Proto, &good_frame).bytes), (MalformedFrame, ""))
            .bytes(ground, Json, cut(&wire::frame(Json, &good_frame).bytes), (MalformedFrame, ""))
            .http_bytes(ground, cut(good.to_string().as_bytes()), (MalformedFrame, ""))
            .grpc_bytes(ground, "SendMessage", cut(&request), (MalformedFrame, "")),
        Codec::ALL.into_iter().fold(
            Row::new("text where bytes were agreed, or the other way round"),
            |row, codec| {
                let mut payload = wire::frame(codec, &good_frame);
                payload.text = !payload.text;
                let (token, device) = (ground.tokens.ann.clone(), "phone".to_owned());
                row.cell(Ask::Frame { codec, token, device, payload }, (MalformedFrame, ""))
            },
        ),
        Row::new("an empty frame")
            .bytes(ground, Proto, Vec::new(), (MalformedFrame, ""))
            .bytes(ground, Json, "{}", (MalformedFrame, "")),
        // Field 99 with a message whose field 1, the request's id, is 2.
        Row::new("a frame of an unknown kind")
            .bytes(ground, Proto, vec![0x9a, 0x06, 0x02, 0x08, 0x02], (Unimplemented, ""))
            .bytes(ground, Json, json!({"dance": {"id": FRAME_ID}}).to_string(), (Unimplemented, ""))
            .http(ground, "POST", "/dances", Some(&good), (NotFound, ""))
            .grpc_bytes(ground, "Dance", request, (UnknownMethod, "")),
        Row::new("a call of an unknown method").frame(
            ground,
            &json!({"call": {"id": FRAME_ID, "method": "flare.session.v1.SessionService/Dance"}}),
            (UnknownMethod, "method"),
        ),
        Row::new("a call of a method that is not for clients").frame(
            ground,
            &json!({"call": {"id": FRAME_ID, "method": "flare.session.v1.SessionService/Authorize"}}),
            (UnknownMethod, "method"),
        ),
        Row::new("a call with another method's request").frame(
            ground,
            &json!({"call": {
                "id": FRAME_ID,
                "method": "flare.session.v1.SessionService/SyncInbox",
                "request": {"@type": "type.googleapis.com/flare.session.v1.MarkReadRequest", "conversationId": TEAM}
            }}),
            (InvalidArgument, "request"),
        ),
        json_only("an unknown field", strange("colour", json!("red")), "colour"),
        json_only(
            "an unknown field further in",
            strange("content", json!({"text": {"text": "x", "colour": "red"}})),
            "content.text.colour",
        ),
        json_only("a content that only the server makes", strange("content", json!({"unknown": {"kind": 99}})), "content.unknown"),
        json_only("a number for a text", strange("clientId", json!(7)), "client_id"),
        json_only("a list for a message", strange("content", json!([])), "content"),
        // Field 4 (client_id) of Send and of the request: a number.
        Row::new("a field of another type in protobuf")
            .bytes(ground, Proto, vec![0x1a, 0x04, 0x08, 0x02, 0x20, 0x07], (MalformedFrame, ""))
            .grpc_bytes(ground, "SendMessage", vec![0x20, 0x07], (MalformedFrame, "")),
        Row::new("a number that is none")
            .bytes(
                ground,
                Json,
                json!({"operate": {"id": FRAME_ID, "conversationId": TEAM, "clientId": "c", "recall": {"seq": "many"}}})
                    .to_string(),
                (InvalidArgument, "recall.seq"),
            )
            .http(
                ground,
                "POST",
                &format!("/conversations/{TEAM}/messages/many/recall"),
                Some(&json!({"clientId": "c"})),
                (InvalidArgument, "seq"),
            ),
        Row::new("an unknown query parameter").http(
            ground,
            "GET",
            &format!("/conversations/{TEAM}/messages?colour=red"),
            None,
            (InvalidArgument, "colour"),
        ),
        Row::new("an operation of an unknown kind").frame(
            ground,
            &json!({"operate": {"id": FRAME_ID, "conversationId": TEAM, "clientId": "c"}}),
            (InvalidArgument, "operation"),
        ),
    ]
}
