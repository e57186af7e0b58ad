//! Proto3 JSON of the contract's messages, by the descriptor pool: the one JSON of frames and HTTP.
//!
//! lowerCamelCase, 64-bit integers as strings, `Any` with its `@type`. A client's unknown fields are refused, with their name; a server's, which
//! may be newer, are passed over. A content of a kind that this build does not know is shown as `"unknown": {"kind": n, "base64": "…"}` and
//! taken from a server only.

use flare_proto::{common::ErrorCode, descriptor_pool};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};

pub(crate) use self::path::before_reason;
pub use self::scan::MAX_VALUES;
use self::unknown::Rewrite;

mod path;
mod scan;
mod unknown;

/// Why something is no JSON, or no message, of the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The contract has no message of this name.
    #[error("no message is named {name:?}")]
    UnknownMessage {
        /// The name asked for.
        name: String,
    },
    /// Not JSON at all, or nested deeper than 128.
    #[error("not JSON: {reason}")]
    Syntax {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// The message has no such field.
    #[error("unknown field {field:?}")]
    UnknownField {
        /// From the message down, as the sender spelt it.
        field: String,
    },
    /// The field is there, its value is not of its type.
    #[error("{}{reason}", before_reason(.field))]
    WrongType {
        /// From the message down, in the contract's spelling; empty for the message itself.
        field: String,
        /// What would have been right.
        reason: String,
    },
    /// The bytes are not a message of this type.
    #[error("not a {name}: {reason}")]
    Malformed {
        /// The message's name.
        name: String,
        /// What the decoder says.
        reason: String,
    },
}

impl JsonError {
    /// The code by which a request is refused for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownMessage { .. } => ErrorCode::UnknownMethod,
            Self::Syntax { .. } | Self::Malformed { .. } => ErrorCode::MalformedFrame,
            Self::UnknownField { .. } | Self::WrongType { .. } => ErrorCode::InvalidArgument,
        }
    }

    /// The field that was wrong; empty if none can be named.
    pub fn field(&self) -> &str {
        match self {
            Self::UnknownField { field } | Self::WrongType { field, .. } => field,
            _ => "",
        }
    }
}

/// A message's bytes as JSON. `full_name` is the contract's: "flare.message.v1.Event".
///
/// # Errors
/// `UnknownMessage`, or `Malformed` if the bytes are not such a message. A content of an unknown kind, or one that does not decode, is no
/// error: it is shown as `unknown`.
pub fn message_to_json(full_name: &str, bytes: &[u8]) -> Result<Vec<u8>, JsonError> {
    to_json(&descriptor(full_name)?, bytes)
}

/// The bytes of a message that was sent as JSON by a client.
///
/// # Errors
/// `UnknownMessage`, `Syntax`, `UnknownField`, `WrongType`, which is also the error of a field that is given twice, of a number that is not
/// exact, and of more values than are taken. A content that has `unknown` is refused as an unknown field.
pub fn json_to_message(full_name: &str, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(full_name)?;
    scan::scan(&descriptor, json)?;
    from_json(&descriptor, json, Rewrite::Refuse)
}

/// The bytes of a message that was sent as JSON by a server: contents shown as `unknown` are what they were, byte for byte. Fields that this
/// build does not know are passed over: the server may be newer.
///
/// # Errors
/// `UnknownMessage`, `Syntax`, `WrongType`.
pub fn server_json_to_message(full_name: &str, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    from_json(&descriptor(full_name)?, json, Rewrite::Restore)
}

fn descriptor(full_name: &str) -> Result<MessageDescriptor, JsonError> {
    descriptor_pool()
        .get_message_by_name(full_name)
        .ok_or_else(|| JsonError::UnknownMessage {
            name: full_name.to_owned(),
        })
}

fn to_json(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Vec<u8>, JsonError> {
    let malformed = |reason: String| JsonError::Malformed {
        name: descriptor.full_name().to_owned(),
        reason,
    };
    let shown = unknown::rewrite(descriptor, bytes, Rewrite::Show)?;
    let message = DynamicMessage::decode(descriptor.clone(), shown.as_deref().unwrap_or(bytes))
        .map_err(|error| malformed(error.to_string()))?;
    serde_json::to_vec(&message).map_err(|error| malformed(error.to_string()))
}

fn from_json(
    descriptor: &MessageDescriptor,
    json: &[u8],
    rewrite: Rewrite,
) -> Result<Vec<u8>, JsonError> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    let mut track = serde_path_to_error::Track::new();
    let message = DynamicMessage::deserialize_with_options(
        descriptor.clone(),
        serde_path_to_error::Deserializer::new(&mut parser, &mut track),
        &DeserializeOptions::new().deny_unknown_fields(rewrite == Rewrite::Refuse),
    )
    .map_err(|error| path::explain(descriptor, &track.path(), &error))?;
    parser.end().map_err(|error| JsonError::Syntax {
        reason: error.to_string(),
    })?;
    let bytes = message.encode_to_vec();
    Ok(unknown::rewrite(descriptor, &bytes, rewrite)?.unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: &str = "flare.client.v1.Send";

    fn refused(json: &str) -> JsonError {
        json_to_message(SEND, json.as_bytes()).expect_err(json)
    }

    #[test]
    fn messages_go_to_json_and_back() {
        let json = r#"{"id":7,"conversationId":"team","content":{"text":{"text":"héllo"}}}"#;
        let bytes = json_to_message(SEND, json.as_bytes()).expect("taken");
        let send = flare_proto::client::Send::decode(bytes.as_slice()).expect("decodes");
        assert_eq!((send.id, send.conversation_id.as_str()), (7, "team"));
        assert_eq!(
            message_to_json(SEND, &bytes).expect("encodes"),
            json.as_bytes()
        );
    }

    #[test]
    fn integers_of_64_bits_are_strings() {
        let bytes = json_to_message("flare.client.v1.Position", br#"{"seq":"9007199254740993"}"#)
            .expect("taken");
        let json = message_to_json("flare.client.v1.Position", &bytes).expect("encodes");
        assert_eq!(json, br#"{"seq":"9007199254740993"}"#);
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_name() {
        let error = refused(r#"{"id":1,"sender":"eve"}"#);
        assert_eq!(
            error,
            JsonError::UnknownField {
                field: "sender".to_owned()
            }
        );
        let error = refused(r#"{"content":{"text":{"txt":"x"}}}"#);
        assert_eq!(
            error,
            JsonError::UnknownField {
                field: "content.text.txt".to_owned()
            }
        );
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_wrong_type_is_refused_in_the_contracts_spelling() {
        assert_eq!(refused(r#"{"id":"x"}"#).field(), "id");
        assert_eq!(
            refused(r#"{"conversationId":5}"#).field(),
            "conversation_id"
        );
        let nested = refused(r#"{"content":{"mentions":[{"userId":"a"},{"userId":[]}]}}"#);
        assert_eq!(nested.field(), "content.mentions[1].user_id");
        assert!(nested.to_string().contains("string"), "{nested}");
        assert_eq!(refused("[]").field(), "");
    }

    #[test]
    fn an_unknown_enum_value_names_the_field_that_holds_it() {
        let error = json_to_message("flare.client.v1.Kicked", br#"{"reason":"BORED"}"#)
            .expect_err("no such value");
        assert!(
            matches!(&error, JsonError::WrongType { field, .. } if field == "reason"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_json_is_a_syntax_error() {
        for bad in ["", "{", "{\"id\":1}x", "\u{0}", r#"{"id":1,}"#] {
            assert!(matches!(refused(bad), JsonError::Syntax { .. }), "{bad:?}");
        }
        let deep = format!(
            "{}{}",
            r#"{"content":{"forward":{"messages":[{"content":"#.repeat(200),
            "}".repeat(10)
        );
        assert!(json_to_message(SEND, deep.as_bytes()).is_err());
    }

    #[test]
    fn a_field_that_is_given_twice_is_refused_however_it_is_spelt() {
        for (json, field) in [
            (r#"{"userId":"bob","userId":"carol"}"#, "user_id"),
            (r#"{"userId":"bob","user_id":"carol"}"#, "user_id"),
            (
                r#"{"content":{"text":{"text":"a","text":"b"}}}"#,
                "content.text.text",
            ),
        ] {
            let error = refused(json);
            assert_eq!(
                (error.code(), error.field()),
                (ErrorCode::InvalidArgument, field),
                "{json}"
            );
            assert!(error.to_string().contains("twice"), "{error}");
        }
        let bytes = json_to_message(
            "flare.client.v1.Ack",
            br#"{"positions":[{"seq":"1"},{"seq":"1"}]}"#,
        );
        assert!(bytes.is_ok(), "the same name in two objects: {bytes:?}");
    }

    #[test]
    fn a_number_that_readers_may_round_is_refused_and_none_is_changed() {
        let seq = |number: &str| {
            let json = format!(r#"{{"seq":{number}}}"#);
            json_to_message("flare.client.v1.Position", json.as_bytes())
        };
        let taken = |number: &str| {
            let bytes = seq(number).expect(number);
            let position = flare_proto::client::Position::decode(bytes.as_slice());
            position.expect("decodes").seq
        };
        assert_eq!(taken("9007199254740993"), 9_007_199_254_740_993);
        assert_eq!(taken("18446744073709551615"), u64::MAX);
        assert_eq!((taken("1e3"), taken("7.0")), (1_000, 7));
        for number in [
            "18446744073709551616",
            "9007199254740993.0",
            "1e16",
            "-1e300",
            "1.5",
            "-1",
        ] {
            let error = seq(number).expect_err(number);
            assert_eq!(error.field(), "seq", "{number}: {error}");
        }
    }

    #[test]
    fn more_values_than_any_request_needs_are_refused_before_they_are_kept() {
        let ack = |positions: usize| {
            let json = format!(r#"{{"positions":[{}]}}"#, vec!["{}"; positions].join(","));
            json_to_message("flare.client.v1.Ack", json.as_bytes())
        };
        assert!(ack(40_000).is_ok());
        let error = ack(60_000).expect_err("too many");
        assert!(
            matches!(&error, JsonError::WrongType { reason, .. } if reason.contains("50000")),
            "{error}"
        );
    }

    #[test]
    fn a_refusal_repeats_no_more_than_the_beginning_of_what_was_sent() {
        let long = "x".repeat(100_000);
        for json in [
            format!(r#"{{"{long}":1}}"#),
            format!(r#"{{"content":"{long}"}}"#),
            format!(r#"{{"content":{{"{long}":1}}}}"#),
        ] {
            let error = refused(&json);
            assert!(
                error.to_string().len() < 1_000 && error.field().len() < 1_000,
                "{} bytes",
                error.to_string().len()
            );
        }
        let kind = format!(r#"{{"reason":"{long}"}}"#);
        let error =
            json_to_message("flare.client.v1.Kicked", kind.as_bytes()).expect_err("no such value");
        assert!(error.to_string().len() < 1_000);
        assert!(
            refused("[]").to_string().starts_with("invalid type"),
            "{}",
            refused("[]")
        );
    }

    #[test]
    fn what_a_newer_server_says_more_is_passed_over() {
        let name = "flare.client.v1.SendAck";
        let json = br#"{"seq":"4","shard":"7","inner":{"a":[1]}}"#;
        let bytes = server_json_to_message(name, json).expect("taken");
        assert_eq!(
            message_to_json(name, &bytes).expect("encodes"),
            br#"{"seq":"4"}"#
        );
    }

    #[test]
    fn a_message_that_the_contract_has_not_is_named() {
        let error = message_to_json("flare.client.v1.Nothing", b"").expect_err("no such message");
        assert!(error.to_string().contains("flare.client.v1.Nothing"));
    }
}
