//! Contents of a kind that this build does not know, on their way into JSON and out of it.
//!
//! Works on the wire format: a content keeps its bytes, and only the lengths around it change.

use std::{borrow::Cow, collections::HashSet, sync::LazyLock};

use bytes::Bytes;
use flare_proto::{
    descriptor_pool,
    message::{Content, UnknownContent},
};
use prost::Message;
use prost_reflect::{Kind, MessageDescriptor};

use super::JsonError;
use crate::{
    content::{self, ContentKind, MAX_FORWARD_DEPTH},
    wire::{self, Value},
};

const CONTENT: &str = "flare.message.v1.Content";
const ANY: &str = "google.protobuf.Any";
/// An `Any` in an `Any` is decoded anew each time, which no decoder's own limit of nesting sees.
const MAX_ANY_DEPTH: usize = 4;
/// As deep as prost decodes a message.
const MAX_DEPTH: usize = 100;

/// What is done with `unknown` contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewrite {
    /// Towards JSON: a content that this build cannot show gets its `unknown`.
    Show,
    /// From a server's JSON: `unknown` gives the content back as it was.
    Restore,
    /// From a client's JSON: `unknown` is refused.
    Refuse,
}

/// The message with its contents rewritten; `None` if nothing changes.
pub(super) fn rewrite(
    descriptor: &MessageDescriptor,
    bytes: &[u8],
    rewrite: Rewrite,
) -> Result<Option<Vec<u8>>, JsonError> {
    let mut walk = Walk {
        rewrite,
        path: Vec::new(),
        depth: 0,
        anys: 0,
        forwards: 0,
    };
    walk.message(descriptor, bytes)
}

/// Messages from which a content can be reached; the others are not walked.
static CARRIERS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let mut carriers = HashSet::from([CONTENT.to_owned(), ANY.to_owned()]);
    loop {
        let before = carriers.len();
        for message in descriptor_pool().all_messages() {
            let carries = message.fields().any(
                |field| matches!(field.kind(), Kind::Message(it) if carriers.contains(it.full_name())),
            );
            if carries {
                carriers.insert(message.full_name().to_owned());
            }
        }
        if carriers.len() == before {
            return carriers;
        }
    }
});

struct Walk {
    rewrite: Rewrite,
    path: Vec<String>,
    depth: usize,
    anys: usize,
    forwards: usize,
}

impl Walk {
    fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, JsonError> {
        match descriptor.full_name() {
            CONTENT => self.content(descriptor, bytes),
            ANY => self.any(descriptor, bytes),
            name if CARRIERS.contains(name) => self.fields(descriptor, bytes),
            _ => Ok(None),
        }
    }

    fn fields(
        &mut self,
        descriptor: &MessageDescriptor,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, JsonError> {
        if self.depth >= MAX_DEPTH {
            return Err(malformed(descriptor, "nested too deep"));
        }
        let mut rewritten: Option<Vec<u8>> = None;
        let mut done = 0;
        for field in wire::fields(bytes) {
            let field = field.map_err(|error| malformed(descriptor, &error.to_string()))?;
            let start = done;
            done += field.raw.len();
            let inner = match (field.value, descriptor.get_field(field.number)) {
                (Value::Bytes(inner), Some(known)) => match known.kind() {
                    Kind::Message(inner_type) => {
                        self.path.push(known.name().to_owned());
                        self.depth += 1;
                        let changed = self.message(&inner_type, inner)?;
                        self.depth -= 1;
                        self.path.pop();
                        changed
                    }
                    _ => None,
                },
                _ => None,
            };
            match (inner, &mut rewritten) {
                (Some(inner), rewritten) => {
                    let into = rewritten
                        .get_or_insert_with(|| bytes.get(..start).unwrap_or_default().to_vec());
                    put(into, field.number, &inner);
                }
                (None, Some(into)) => into.extend_from_slice(field.raw),
                (None, None) => {}
            }
        }
        Ok(rewritten)
    }

    fn any(
        &mut self,
        descriptor: &MessageDescriptor,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, JsonError> {
        let any = prost_types::Any::decode(bytes)
            .map_err(|error| malformed(descriptor, &error.to_string()))?;
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let Some(inner) = descriptor_pool().get_message_by_name(name) else {
            return Ok(None);
        };
        if self.anys >= MAX_ANY_DEPTH {
            return Err(malformed(descriptor, "an Any nested too deep"));
        }
        let depth = std::mem::replace(&mut self.depth, 0);
        self.anys += 1;
        let changed = self.message(&inner, &any.value)?;
        self.anys -= 1;
        self.depth = depth;
        Ok(changed.map(|value| {
            prost_types::Any {
                type_url: any.type_url,
                value,
            }
            .encode_to_vec()
        }))
    }

    fn content(
        &mut self,
        descriptor: &MessageDescriptor,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, JsonError> {
        match self.rewrite {
            Rewrite::Show => self.show(descriptor, bytes),
            Rewrite::Restore | Rewrite::Refuse => {
                let marked = wire::fields(bytes)
                    .filter_map(Result::ok)
                    .find(|field| field.number == content::UNKNOWN_FIELD);
                match (marked.map(|it| it.value), self.rewrite) {
                    (Some(_), Rewrite::Refuse) => {
                        self.path.push("unknown".to_owned());
                        Err(JsonError::UnknownField {
                            field: self.path.join("."),
                        })
                    }
                    (Some(Value::Bytes(unknown)), _) => UnknownContent::decode(unknown)
                        .map(|it| Some(it.base64.to_vec()))
                        .map_err(|error| malformed(descriptor, &error.to_string())),
                    _ => self.fields(descriptor, bytes),
                }
            }
        }
    }

    fn show(
        &mut self,
        descriptor: &MessageDescriptor,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, JsonError> {
        let kind = content::kind(bytes);
        // A content inside another was decoded with it.
        let decodes = self.forwards > 0 || Content::decode(bytes).is_ok();
        if !decodes || self.forwards > MAX_FORWARD_DEPTH {
            let number = kind.map_or(0, ContentKind::number);
            return Ok(Some(with_unknown(Cow::Borrowed(&[]), number, bytes)));
        }
        match kind {
            Some(ContentKind::Unknown(number)) => {
                Ok(Some(with_unknown(Cow::Borrowed(bytes), number, bytes)))
            }
            _ => {
                self.forwards += 1;
                let changed = self.fields(descriptor, bytes);
                self.forwards -= 1;
                changed
            }
        }
    }
}

/// `shown` with the content's whole bytes beside it.
fn with_unknown(shown: Cow<'_, [u8]>, kind: u32, content: &[u8]) -> Vec<u8> {
    let mut shown = shown.into_owned();
    let unknown = UnknownContent {
        kind,
        base64: Bytes::copy_from_slice(content),
    };
    put(&mut shown, content::UNKNOWN_FIELD, &unknown.encode_to_vec());
    shown
}

fn put(into: &mut Vec<u8>, number: u32, value: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, into);
    prost::encoding::encode_varint(value.len() as u64, into);
    into.extend_from_slice(value);
}

fn malformed(descriptor: &MessageDescriptor, reason: &str) -> JsonError {
    JsonError::Malformed {
        name: descriptor.full_name().to_owned(),
        reason: reason.to_owned(),
    }
}
