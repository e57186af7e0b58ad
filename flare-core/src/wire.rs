//! Walks the protobuf wire format without a type: total on any bytes, without allocation.

use bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The bytes end, or say something impossible, at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no protobuf field at byte {at}")]
pub(crate) struct NotWire {
    /// Offset of the field that cannot be read.
    pub(crate) at: usize,
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// The field with its tag, as it stands in the message.
    pub(crate) raw: &'a [u8],
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// A message, string, bytes or packed list.
    Bytes(&'a [u8]),
    /// Fixed width or a group, which the contract has nowhere.
    Other,
}

/// The fields of a message, in their order; ends after the first error.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Reads `bytes` as a message.
pub(crate) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { bytes, at: 0 }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, NotWire>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.bytes.get(self.at..).filter(|it| !it.is_empty())?;
        let start = self.at;
        let before = rest.len();
        let Some((number, value)) = read(&mut rest) else {
            self.at = self.bytes.len();
            return Some(Err(NotWire { at: start }));
        };
        self.at = start + (before - rest.len());
        Some(Ok(Field {
            number,
            value,
            raw: self.bytes.get(start..self.at).unwrap_or_default(),
        }))
    }
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, wire_type) = decode_key(rest).ok()?;
    let value = match wire_type {
        WireType::Varint => Value::Varint(decode_varint(rest).ok()?),
        WireType::LengthDelimited => Value::Bytes(take(rest)?),
        WireType::StartGroup => {
            skip_group(rest)?;
            Value::Other
        }
        WireType::EndGroup => return None,
        fixed => {
            skip_fixed(rest, fixed)?;
            Value::Other
        }
    };
    Some((number, value))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn skip_fixed(rest: &mut &[u8], wire_type: WireType) -> Option<()> {
    let width = if wire_type == WireType::SixtyFourBit {
        8
    } else {
        4
    };
    if rest.len() < width {
        return None;
    }
    rest.advance(width);
    Some(())
}

/// Groups nest, so their depth is counted instead of recursed into.
fn skip_group(rest: &mut &[u8]) -> Option<()> {
    let mut depth = 1_usize;
    while depth > 0 {
        match decode_key(rest).ok()?.1 {
            WireType::StartGroup => depth += 1,
            WireType::EndGroup => depth -= 1,
            WireType::Varint => drop(decode_varint(rest).ok()?),
            WireType::LengthDelimited => drop(take(rest)?),
            fixed => skip_fixed(rest, fixed)?,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_walked_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut covered = 0;
            for field in fields(&bytes) {
                match field {
                    Ok(field) => covered += field.raw.len(),
                    Err(NotWire { at }) => {
                        prop_assert_eq!(at, covered);
                        covered = bytes.len();
                    }
                }
            }
            prop_assert_eq!(covered, bytes.len());
        }
    }

    #[test]
    fn groups_are_stepped_over() {
        // Field 1 as a group that holds a group, then field 2 = 5.
        let bytes = [0x0b, 0x0b, 0x0c, 0x10, 0x01, 0x0c, 0x10, 0x05];
        let read: Vec<_> = fields(&bytes)
            .map(|it| it.expect("well formed").number)
            .collect();
        assert_eq!(read, [1, 2]);
    }
}
