//! The request id of a frame that cannot be read as a whole, so that its refusal can bear it.

use crate::wire::{self, Value};

/// Every request has its id in field 1 of the one field of the frame; it stands first when written in order.
pub(super) fn in_proto(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes;
    prost::encoding::decode_key(&mut rest).ok()?;
    prost::encoding::decode_varint(&mut rest).ok()?;
    // What follows may be cut off, so the length is not believed.
    match wire::fields(rest).next()?.ok()? {
        wire::Field {
            number: 1,
            value: Value::Varint(id),
            ..
        } => positive(id),
        _ => None,
    }
}

/// From `{"<kind>": {"id": n}}`, if it is JSON at all.
pub(super) fn in_json(bytes: &[u8]) -> Option<u32> {
    let frame: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let id = frame
        .as_object()?
        .values()
        .find_map(|kind| kind.get("id"))?;
    let id = match id {
        serde_json::Value::String(text) => text.parse().ok()?,
        number => number.as_u64()?,
    };
    positive(id)
}

fn positive(id: u64) -> Option<u32> {
    u32::try_from(id).ok().filter(|it| *it > 0)
}
