//! From a parser's complaint to a field of the contract.

use std::fmt::Write;

use prost_reflect::{Kind, MessageDescriptor};
use serde_path_to_error::{Path, Segment};

use super::JsonError;

/// How prost-reflect begins its complaint about a field that the message has not; a test pins it.
const UNKNOWN_FIELD: &str = "unrecognized field name '";

/// So much of what was sent is repeated in a refusal.
const MAX_SHOWN_CHARS: usize = 200;

/// What stands before the reason of a wrong type: its field, if one can be named.
pub(crate) fn before_reason(field: &str) -> String {
    if field.is_empty() {
        return String::new();
    }
    format!("field {field:?}: ")
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Tells unknown fields, wrong types and broken syntax apart, and names the field.
pub(super) fn explain(
    descriptor: &MessageDescriptor,
    path: &Path,
    error: &serde_json::Error,
) -> JsonError {
    let reason = error.to_string();
    if !error.is_data() {
        return JsonError::Syntax { reason };
    }
    let field = shortened(&in_contract(descriptor, path));
    match reason
        .strip_prefix(UNKNOWN_FIELD)
        .and_then(|it| it.split_once('\''))
    {
        Some((name, _)) if field.is_empty() => JsonError::UnknownField {
            field: shortened(name),
        },
        Some((name, _)) => JsonError::UnknownField {
            field: format!("{field}.{}", shortened(name)),
        },
        None => JsonError::WrongType {
            field,
            reason: shortened(&reason),
        },
    }
}

/// The path with each field as the contract spells it; inside an `Any`, whose fields the descriptor does not tell, as the sender did.
fn in_contract(descriptor: &MessageDescriptor, path: &Path) -> String {
    let mut at = Some(descriptor.clone());
    let mut written = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => {
                // Writing to a String cannot fail.
                let _ = write!(written, "[{index}]");
            }
            Segment::Map { key } => {
                let field = at.as_ref().and_then(|it| {
                    it.get_field_by_json_name(key)
                        .or_else(|| it.get_field_by_name(key))
                });
                if !written.is_empty() {
                    written.push('.');
                }
                written.push_str(field.as_ref().map_or(key.as_str(), |it| it.name()));
                at = field.and_then(|it| match it.kind() {
                    Kind::Message(inner) => Some(inner),
                    _ => None,
                });
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    written
}
