//! What of a content can be told without its type: its kind, by number, whether or not this build knows it.

use crate::wire::{self, Value};

/// How deep forwarded messages may hold forwarded messages.
pub const MAX_FORWARD_DEPTH: usize = 8;

/// The most forwarded messages of one content, those within others among them. An empty one takes two bytes, and a hundred times as much where
/// it is shown as JSON.
pub const MAX_FORWARDED: usize = 500;

/// The field `unknown` of `Content`: only in JSON, only from the server.
pub(crate) const UNKNOWN_FIELD: u32 = 30;

/// From a content to those that it forwards: `Content.forward`, `Forward.messages`, `ForwardedMessage.content`.
const FORWARD_FIELD: u32 = 9;
const MESSAGES_FIELD: u32 = 2;
const CONTENT_FIELD: u32 = 4;

/// The fields of `Content` that are its kind, in this build.
const KNOWN_KINDS: std::ops::RangeInclusive<u32> = 1..=13;
/// The fields of `Content` that stand beside the kind, in this build.
const BESIDE_THE_KIND: [u32; 4] = [20, 21, 22, UNKNOWN_FIELD];

/// A content's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    /// A field of this build's `Content`, by number.
    Known(u32),
    /// A field that this build's `Content` has not, and that holds a message as a kind does, by number.
    Unknown(u32),
    /// Nothing that could be a kind.
    Missing,
}

impl ContentKind {
    /// The field's number; 0 if there is none.
    pub fn number(self) -> u32 {
        match self {
            Self::Known(number) | Self::Unknown(number) => number,
            Self::Missing => 0,
        }
    }
}

/// Reads the kind from a content's bytes; `None` if they are no protobuf. Of several, the last known one counts, as it does for a decoder; of
/// several unknown ones the lowest.
pub fn kind(content: &[u8]) -> Option<ContentKind> {
    let mut found = ContentKind::Missing;
    for field in wire::fields(content) {
        let field = field.ok()?;
        if !matches!(field.value, Value::Bytes(_)) {
            continue;
        }
        found = match found {
            _ if KNOWN_KINDS.contains(&field.number) => ContentKind::Known(field.number),
            _ if BESIDE_THE_KIND.contains(&field.number) => found,
            ContentKind::Missing => ContentKind::Unknown(field.number),
            ContentKind::Unknown(lowest) => ContentKind::Unknown(lowest.min(field.number)),
            ContentKind::Known(_) => found,
        };
    }
    Some(found)
}

/// Whether each content has a kind, known or unknown, those within forwards too.
pub(crate) fn has_kinds(content: &[u8]) -> bool {
    let mut waiting = vec![content];
    while let Some(content) = waiting.pop() {
        if !matches!(
            kind(content),
            Some(ContentKind::Known(_) | ContentKind::Unknown(_))
        ) {
            return false;
        }
        for forward in fields_of(content, FORWARD_FIELD) {
            for message in fields_of(forward, MESSAGES_FIELD) {
                waiting.extend(fields_of(message, CONTENT_FIELD));
            }
        }
    }
    true
}

/// What stands in one of a message's fields, each time that it does.
fn fields_of(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    wire::fields(message)
        .flatten()
        .filter_map(move |field| match field.value {
            Value::Bytes(bytes) if field.number == number => Some(bytes),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_here_are_those_of_the_contract() {
        let content = flare_proto::descriptor_pool()
            .get_message_by_name("flare.message.v1.Content")
            .expect("in the contract");
        for field in content.fields() {
            let is_kind = field
                .containing_oneof()
                .is_some_and(|it| it.name() == "kind");
            assert_eq!(
                KNOWN_KINDS.contains(&field.number()),
                is_kind,
                "{}",
                field.name()
            );
            assert_eq!(
                BESIDE_THE_KIND.contains(&field.number()),
                !is_kind,
                "{}",
                field.name()
            );
        }
        let unknown = content
            .get_field_by_name("unknown")
            .expect("in the contract");
        assert_eq!(unknown.number(), UNKNOWN_FIELD);
        for (message, field, number) in [
            ("Content", "forward", FORWARD_FIELD),
            ("Forward", "messages", MESSAGES_FIELD),
            ("ForwardedMessage", "content", CONTENT_FIELD),
        ] {
            let field = flare_proto::descriptor_pool()
                .get_message_by_name(&format!("flare.message.v1.{message}"))
                .and_then(|it| it.get_field_by_name(field))
                .expect("in the contract");
            assert_eq!(field.number(), number, "{message}");
        }
    }

    #[test]
    fn a_kind_is_told_known_unknown_or_missing() {
        assert_eq!(kind(&[0x0a, 0x00]), Some(ContentKind::Known(1)));
        // Field 14, then field 1: a decoder knows the latter.
        assert_eq!(kind(&[0x72, 0x00, 0x0a, 0x00]), Some(ContentKind::Known(1)));
        assert_eq!(kind(&[0x72, 0x01, 0x78]), Some(ContentKind::Unknown(14)));
        // Only mention_all, and a number in an unknown field: no kind.
        assert_eq!(
            kind(&[0xb0, 0x01, 0x01, 0x70, 0x05]),
            Some(ContentKind::Missing)
        );
        assert_eq!(kind(&[0x0a, 0x05]), None);
    }
}
