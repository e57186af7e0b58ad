//! The contract's JSON of any message, as HTTP bodies, frames and answers have it. The first byte of an input picks the message.

use std::sync::LazyLock;

use flare_core::json::{JsonError, json_to_message, message_to_json, server_json_to_message};
use flare_proto::descriptor_pool;

use crate::{corpus, frames};

/// The longest refusal, whatever it repeats of what was sent.
const MOST_REFUSAL_BYTES: usize = 4 * 1024;
const SEND: &str = "flare.gateway.v1.SendMessagesRequest";
const EVENT: &str = "flare.message.v1.Event";
const SERVER_FRAME: &str = "flare.client.v1.ServerFrame";

/// Names of the contract's messages, in order.
static MESSAGES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let ours = descriptor_pool().all_messages();
    let mut names: Vec<String> = ours
        .map(|it| it.full_name().to_owned())
        .filter(|it| it.starts_with("flare."))
        .collect();
    names.sort();
    names
});

/// The message that an input with this first byte is.
pub fn message_of(first: u8) -> &'static str {
    let place = usize::from(first) % MESSAGES.len();
    MESSAGES.get(place).map_or("", |it| it)
}

fn picked(bytes: &[u8]) -> Option<(&'static str, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((message_of(*first), rest))
}

/// An input that picks this message.
fn of(name: &str, rest: &[u8]) -> Vec<u8> {
    let place = MESSAGES.iter().position(|it| it == name);
    let first = u8::try_from(place.expect("in the contract")).expect("fewer than 256 messages");
    [&[first], rest].concat()
}

/// Judges JSON as a client sends it.
pub fn json(bytes: &[u8]) {
    let Some((name, json)) = picked(bytes) else {
        return;
    };
    match json_to_message(name, json) {
        Ok(wire) => {
            let shown = message_to_json(name, &wire).expect("what was taken is shown");
            let again = json_to_message(name, &shown).expect("what is shown is taken");
            assert_eq!(again, wire, "{name}");
            let by_server = server_json_to_message(name, json);
            assert_eq!(by_server.as_ref(), Ok(&wire), "{name}");
        }
        Err(error) => {
            assert!(
                !matches!(
                    error,
                    JsonError::UnknownMessage { .. } | JsonError::Malformed { .. }
                ),
                "{name}: {error}"
            );
            let length = error.to_string().len() + error.field().len();
            assert!(length < MOST_REFUSAL_BYTES, "{length} bytes: {error}");
        }
    }
}

/// Judges a message's bytes on their way into JSON and back, as a server shows them.
pub fn wire(bytes: &[u8]) {
    let Some((name, wire)) = picked(bytes) else {
        return;
    };
    let Ok(mut shown) = message_to_json(name, wire) else {
        return;
    };
    loop {
        let read = server_json_to_message(name, &shown).expect("what a server shows is read");
        let again = message_to_json(name, &read).expect("what was read is shown");
        if again == shown {
            return;
        }
        // No edge lets a content in that has `unknown` of its own. As a server's it stands for the whole content, whatever is beside it.
        let has_unknown = shown.windows(9).any(|it| it == b"\"unknown\"");
        assert!(has_unknown && again.len() < shown.len(), "{name}");
        shown = again;
    }
}

/// Requests, frames and events as JSON.
pub fn json_corpus() -> Vec<Vec<u8>> {
    let send = br#"{"messages":[{"conversationId":"team","clientId":"m1","content":{"text":{"text":"a"},"mentions":[{"userId":"bob"}]}}]}"#;
    let mut examples = vec![
        of(SEND, send),
        of("flare.client.v1.Position", br#"{"conversation_id":"t","seq":"9007199254740993"}"#),
        of("flare.client.v1.Kicked", br#"{"reason":"IDLE","message":"\u00e9\ud83d\ude00"}"#),
        of(
            "flare.message.v1.Content",
            br#"{"forward":{"messages":[{"content":{"text":{"text":"x"}}}]},"mentionAll":true,"fallback":"f"}"#,
        ),
        of(
            "flare.client.v1.Call",
            br#"{"id":1,"method":"m","request":{"@type":"type.googleapis.com/flare.client.v1.Ping","id":2}}"#,
        ),
    ];
    let frames = frames::client_json_corpus();
    examples.extend(
        frames
            .iter()
            // A content of an unknown kind is for servers to show.
            .filter(|it| !it.windows(9).any(|it| it == b"\"unknown\""))
            .map(|it| of("flare.client.v1.ClientFrame", it)),
    );
    examples
}

/// Events, frames and requests in protobuf.
pub fn wire_corpus() -> Vec<Vec<u8>> {
    let event = |content| prost::Message::encode_to_vec(&corpus::event(7, content));
    let unknown = bytes::Bytes::from_static(&[0x72, 0x03, 0x0a, 0x01, 0x61]);
    let mut examples = vec![
        of(EVENT, &event(corpus::text("hello"))),
        of(EVENT, &event(unknown)),
    ];
    examples.extend(
        frames::server_proto_corpus()
            .iter()
            .map(|it| of(SERVER_FRAME, it)),
    );
    examples.extend(
        frames::client_proto_corpus()
            .iter()
            .map(|it| of("flare.client.v1.ClientFrame", it)),
    );
    examples
}
