//! An event read in place: what is borrowed from its bytes costs no memory, and most readers of the stream need a few fields only.

use bytes::Buf;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

use crate::message::{ConversationClass, EventKind};

/// Why bytes are no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// They are no protobuf message.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// A field is longer than what holds it.
    #[error("a field is longer than what holds it")]
    Cut,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotText,
}

/// An encoded `Event`, its header read as `Event::decode` would read it; the fields are those of `EventHeader`.
#[expect(missing_docs, reason = "the fields of the contract's EventHeader")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventView<'a> {
    pub tenant_id: &'a str,
    pub conversation_id: &'a str,
    pub seq: u64,
    pub ordinal: u64,
    pub message_id: &'a str,
    pub sender_id: &'a str,
    pub sender_device_id: &'a str,
    pub time_ms: i64,
    pub kind: i32,
    pub flags: u32,
    pub class: i32,
    pub participants: Vec<&'a str>,
    pub mentions: Vec<&'a str>,
    pub client_id: &'a str,
    pub trace_id: &'a [u8],
    pub target_seq: u64,
    /// Whether there is a header at all.
    pub has_header: bool,
    /// The encoded `EventBody`.
    pub body: &'a [u8],
}

impl<'a> EventView<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// If the bytes are no event.
    pub fn read(mut event: &'a [u8]) -> Result<Self, NoEvent> {
        let mut view = Self::default();
        while event.has_remaining() {
            let (tag, wire) = decode_key(&mut event)?;
            match tag {
                1 => {
                    view.read_header(bytes(wire, &mut event)?)?;
                    view.has_header = true;
                }
                2 => view.body = bytes(wire, &mut event)?,
                _ => skip_field(wire, tag, &mut event, DecodeContext::default())?,
            }
        }
        Ok(view)
    }

    /// What happened; a kind that this version does not know is `Unspecified`.
    pub fn kind(&self) -> EventKind {
        EventKind::try_from(self.kind).unwrap_or_default()
    }

    /// The conversation's class; one that this version does not know is `Unspecified`.
    pub fn class(&self) -> ConversationClass {
        ConversationClass::try_from(self.class).unwrap_or_default()
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "as protobuf has it: a varint is cut to the field's width"
    )]
    fn read_header(&mut self, mut from: &'a [u8]) -> Result<(), NoEvent> {
        while from.has_remaining() {
            let (tag, wire) = decode_key(&mut from)?;
            match tag {
                1 => self.tenant_id = text(wire, &mut from)?,
                2 => self.conversation_id = text(wire, &mut from)?,
                3 => self.seq = number(wire, &mut from)?,
                4 => self.ordinal = number(wire, &mut from)?,
                5 => self.message_id = text(wire, &mut from)?,
                6 => self.sender_id = text(wire, &mut from)?,
                7 => self.sender_device_id = text(wire, &mut from)?,
                8 => self.time_ms = number(wire, &mut from)? as i64,
                9 => self.kind = number(wire, &mut from)? as i32,
                10 => self.flags = number(wire, &mut from)? as u32,
                11 => self.class = number(wire, &mut from)? as i32,
                12 => self.participants.push(text(wire, &mut from)?),
                13 => self.mentions.push(text(wire, &mut from)?),
                14 => self.client_id = text(wire, &mut from)?,
                15 => self.trace_id = bytes(wire, &mut from)?,
                17 => self.target_seq = number(wire, &mut from)?,
                _ => skip_field(wire, tag, &mut from, DecodeContext::default())?,
            }
        }
        Ok(())
    }
}

fn number(wire: WireType, from: &mut &[u8]) -> Result<u64, NoEvent> {
    prost::encoding::check_wire_type(WireType::Varint, wire)?;
    Ok(decode_varint(from)?)
}

fn bytes<'a>(wire: WireType, from: &mut &'a [u8]) -> Result<&'a [u8], NoEvent> {
    prost::encoding::check_wire_type(WireType::LengthDelimited, wire)?;
    let length = decode_varint(from)?;
    let split = usize::try_from(length)
        .ok()
        .and_then(|it| from.split_at_checked(it));
    let Some((taken, rest)) = split else {
        return Err(NoEvent::Cut);
    };
    *from = rest;
    Ok(taken)
}

fn text<'a>(wire: WireType, from: &mut &'a [u8]) -> Result<&'a str, NoEvent> {
    std::str::from_utf8(bytes(wire, from)?).map_err(|_| NoEvent::NotText)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::message::{Event, EventHeader};

    /// The view must say what the generated type says, of good bytes and of bad ones.
    fn compare(encoded: &[u8]) {
        match (EventView::read(encoded), Event::decode(encoded)) {
            (Ok(view), Ok(event)) => {
                assert_eq!(view.has_header, event.header.is_some());
                assert_eq!(view.body, &event.body[..]);
                assert_eq!(header(&view), event.header.unwrap_or_default());
            }
            (Err(_), Err(_)) => {}
            (view, event) => panic!("{view:?} and {event:?} of {encoded:?}"),
        }
    }

    fn header(view: &EventView<'_>) -> EventHeader {
        let owned = |it: &Vec<&str>| it.iter().map(|it| (*it).to_owned()).collect();
        EventHeader {
            tenant_id: view.tenant_id.to_owned(),
            conversation_id: view.conversation_id.to_owned(),
            seq: view.seq,
            ordinal: view.ordinal,
            message_id: view.message_id.to_owned(),
            sender_id: view.sender_id.to_owned(),
            sender_device_id: view.sender_device_id.to_owned(),
            time_ms: view.time_ms,
            kind: view.kind,
            flags: view.flags,
            class: view.class,
            participants: owned(&view.participants),
            mentions: owned(&view.mentions),
            client_id: view.client_id.to_owned(),
            trace_id: view.trace_id.to_vec().into(),
            target_seq: view.target_seq,
        }
    }

    fn events() -> impl Strategy<Value = Vec<u8>> {
        let texts = || prop::collection::vec(".{0,12}", 0..3);
        let ids = (".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}", ".{0,8}");
        let numbers = (any::<u64>(), any::<u64>(), any::<i64>(), any::<u64>());
        let small = (any::<i32>(), any::<u32>(), any::<i32>());
        let blobs = (
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 0..40),
        );
        (ids, numbers, small, blobs, texts(), texts()).prop_map(
            |(ids, numbers, small, blobs, participants, mentions)| {
                Event {
                    header: Some(EventHeader {
                        tenant_id: ids.0,
                        conversation_id: ids.1,
                        seq: numbers.0,
                        ordinal: numbers.1,
                        message_id: ids.2,
                        sender_id: ids.3,
                        sender_device_id: ids.4,
                        time_ms: numbers.2,
                        kind: small.0,
                        flags: small.1,
                        class: small.2,
                        participants,
                        mentions,
                        client_id: ids.5,
                        trace_id: blobs.0.into(),
                        target_seq: numbers.3,
                    }),
                    body: blobs.1.into(),
                }
                .encode_to_vec()
            },
        )
    }

    proptest! {
        #[test]
        fn the_view_is_what_the_generated_type_reads(event in events(), tail in prop::collection::vec(any::<u8>(), 0..6)) {
            compare(&event);
            // Fields that come again, unknown ones, and rubbish.
            compare(&[&event[..], &event[..], &[0xca, 0x30, 0x01, 0x78]].concat());
            compare(&[&event[..], &tail[..]].concat());
        }

        #[test]
        fn damaged_events_are_refused_alike(event in events(), at in any::<prop::sample::Index>(), by in 1_u8.., cut in any::<prop::sample::Index>()) {
            let mut damaged = event.clone();
            if !damaged.is_empty() {
                let at = at.index(damaged.len());
                damaged[at] ^= by;
                compare(&damaged);
                compare(&event[..cut.index(event.len())]);
            }
        }
    }
}
