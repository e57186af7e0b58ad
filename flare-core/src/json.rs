//! Proto3 JSON of the contract's messages, by the descriptor pool: the one JSON of frames and HTTP.
//!
//! lowerCamelCase, 64-bit integers as strings, `Any` with its `@type`. Unknown fields are refused, with their name. A content of a kind that
//! this build does not know is shown as `"unknown": {"kind": n, "base64": "…"}` and taken from a server only.

use flare_proto::{common::ErrorCode, descriptor_pool};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor};

use self::unknown::Rewrite;

mod path;
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
    #[error("field {field:?}: {reason}")]
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
/// `UnknownMessage`, `Syntax`, `UnknownField`, `WrongType`. A content that has `unknown` is refused as an unknown field.
pub fn json_to_message(full_name: &str, json: &[u8]) -> Result<Vec<u8>, JsonError> {
    from_json(&descriptor(full_name)?, json, Rewrite::Refuse)
}

/// The bytes of a message that was sent as JSON by a server: contents shown as `unknown` are what they were, byte for byte.
///
/// # Errors
/// As [`json_to_message`], but for `unknown`.
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
        &DeserializeOptions::new().deny_unknown_fields(true),
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
    fn a_message_that_the_contract_has_not_is_named() {
        let error = message_to_json("flare.client.v1.Nothing", b"").expect_err("no such message");
        assert!(error.to_string().contains("flare.client.v1.Nothing"));
    }
}
