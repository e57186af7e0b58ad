//! Events on their way to connections: encoded once per codec, shared by all of them.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use flare_proto::{event_view::EventView, message::Event};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use crate::{
    codec::{Codec, FrameError, Payload},
    json,
};

const EVENT: &str = "flare.message.v1.Event";
/// `ServerFrame.deliver`.
const DELIVER: u32 = 5;
/// `Deliver.events`.
const EVENTS: u32 = 1;
/// The tag of `ServerFrame.deliver` and the longest length.
const MAX_HEAD_BYTES: usize = 1 + 10;
const JSON_HEAD: &[u8] = br#"{"deliver":{"events":["#;
const JSON_TAIL: &[u8] = b"]}}";

/// One event and the frames that deliver it alone, each made at most once and shared by every connection that gets it.
#[derive(Debug)]
pub struct EncodedEvent {
    /// A whole Deliver frame.
    proto: Bytes,
    /// Where in `proto` the event's entry begins, with its tag, and where the event itself.
    entry_at: usize,
    event_at: usize,
    json: OnceLock<Bytes>,
}

impl EncodedEvent {
    /// Copies the event, so that it keeps no larger buffer alive.
    ///
    /// # Errors
    /// `Malformed` if the bytes are no event.
    pub fn new(event: &[u8]) -> Result<Arc<Self>, FrameError> {
        let malformed = |reason: String| FrameError::Malformed {
            reason,
            request_id: None,
        };
        let view = EventView::read(event).map_err(|error| malformed(error.to_string()))?;
        if !view.has_header {
            return Err(malformed("an event without a header".to_owned()));
        }
        let entry = 1 + encoded_len_varint(event.len() as u64) + event.len();
        let mut proto = BytesMut::with_capacity(MAX_HEAD_BYTES + entry);
        put_head(&mut proto, entry);
        let entry_at = proto.len();
        encode_key(EVENTS, WireType::LengthDelimited, &mut proto);
        encode_varint(event.len() as u64, &mut proto);
        let event_at = proto.len();
        proto.extend_from_slice(event);
        Ok(Arc::new(Self {
            proto: proto.freeze(),
            entry_at,
            event_at,
            json: OnceLock::new(),
        }))
    }

    /// The event, read anew.
    pub fn view(&self) -> EventView<'_> {
        // It was read before.
        EventView::read(self.encoded()).unwrap_or_default()
    }

    /// The event as it was given.
    pub fn event(&self) -> Bytes {
        self.proto.slice(self.event_at..)
    }

    fn encoded(&self) -> &[u8] {
        self.proto.get(self.event_at..).unwrap_or_default()
    }

    /// A frame that delivers this event alone; shared, not copied.
    pub fn frame(&self, codec: Codec) -> Payload {
        let bytes = match codec {
            Codec::Proto => self.proto.clone(),
            Codec::Json => self.json_frame().clone(),
        };
        Payload {
            bytes,
            text: codec.is_text(),
        }
    }

    /// The event as JSON.
    pub fn json(&self) -> Bytes {
        let frame = self.json_frame();
        frame.slice(JSON_HEAD.len()..frame.len() - JSON_TAIL.len())
    }

    /// Bytes of [`Self::frame`].
    pub fn frame_len(&self, codec: Codec) -> usize {
        match codec {
            Codec::Proto => self.proto.len(),
            Codec::Json => self.json_frame().len(),
        }
    }

    fn entry(&self) -> &[u8] {
        self.proto.get(self.entry_at..).unwrap_or_default()
    }

    fn json_frame(&self) -> &Bytes {
        self.json.get_or_init(|| {
            let json = json::message_to_json(EVENT, self.encoded())
                .unwrap_or_else(|_| self.header_alone());
            [JSON_HEAD, &json, JSON_TAIL].concat().into()
        })
    }

    /// A body that is no `EventBody` must not keep the event from its reader, who would sync for ever.
    fn header_alone(&self) -> Vec<u8> {
        let alone = Event {
            body: Bytes::new(),
            ..Event::decode(self.encoded()).unwrap_or_default()
        };
        json::message_to_json(EVENT, &alone.encode_to_vec()).unwrap_or_else(|_| b"{}".to_vec())
    }
}

/// Joins encoded events into one Deliver frame without encoding them again.
#[derive(Debug)]
pub struct DeliverBuilder {
    codec: Codec,
    first: Option<Arc<EncodedEvent>>,
    /// From the second event on: room for the head, then the entries.
    joined: BytesMut,
    count: usize,
    bytes: usize,
}

impl DeliverBuilder {
    /// Allocates nothing until a second event is pushed.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            first: None,
            joined: BytesMut::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Adds an event behind the others.
    pub fn push(&mut self, event: Arc<EncodedEvent>) {
        self.count += 1;
        self.bytes += event.frame_len(self.codec);
        if self.count == 1 {
            self.first = Some(event);
            return;
        }
        if let Some(first) = self.first.take() {
            match self.codec {
                Codec::Proto => self.joined.put_bytes(0, MAX_HEAD_BYTES),
                Codec::Json => self.joined.extend_from_slice(JSON_HEAD),
            }
            self.append(&first);
        }
        if self.codec == Codec::Json {
            self.joined.put_u8(b',');
        }
        self.append(&event);
    }

    fn append(&mut self, event: &EncodedEvent) {
        match self.codec {
            Codec::Proto => self.joined.extend_from_slice(event.entry()),
            Codec::Json => self.joined.extend_from_slice(&event.json()),
        }
    }

    /// How many events were pushed.
    pub fn count(&self) -> usize {
        self.count
    }

    /// At least as many bytes as the frame will have.
    pub fn len_bound(&self) -> usize {
        self.bytes
    }

    /// The frame; `None` without events.
    pub fn finish(mut self) -> Option<Payload> {
        if let Some(only) = self.first {
            return Some(only.frame(self.codec));
        }
        if self.joined.is_empty() {
            return None;
        }
        let bytes = match self.codec {
            Codec::Proto => {
                let entries = self.joined.len() - MAX_HEAD_BYTES;
                let mut head = Vec::with_capacity(MAX_HEAD_BYTES);
                put_head(&mut head, entries);
                let start = MAX_HEAD_BYTES - head.len();
                if let Some(room) = self.joined.get_mut(start..MAX_HEAD_BYTES) {
                    room.copy_from_slice(&head);
                }
                self.joined.freeze().slice(start..)
            }
            Codec::Json => {
                self.joined.extend_from_slice(JSON_TAIL);
                self.joined.freeze()
            }
        };
        Some(Payload {
            bytes,
            text: self.codec.is_text(),
        })
    }
}

/// One Deliver frame of events that are delivered to one connection only.
///
/// # Errors
/// `Malformed` if some bytes are no event.
pub fn encode_deliver(codec: Codec, events: &[Bytes]) -> Result<Option<Payload>, FrameError> {
    let mut builder = DeliverBuilder::new(codec);
    for event in events {
        builder.push(EncodedEvent::new(event)?);
    }
    Ok(builder.finish())
}

fn put_head(into: &mut impl BufMut, entries_len: usize) {
    encode_key(DELIVER, WireType::LengthDelimited, into);
    encode_varint(entries_len as u64, into);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, ServerFrame};
    use flare_proto::{client::Deliver, message::EventHeader};

    fn event(seq: u64, body: &'static [u8]) -> Bytes {
        let header = Some(EventHeader {
            seq,
            ..EventHeader::default()
        });
        Event {
            header,
            body: Bytes::from_static(body),
        }
        .encode_to_vec()
        .into()
    }

    fn delivered(codec: Codec, payload: Payload) -> Vec<Bytes> {
        match codec::decode_server(codec, payload.bytes, 1 << 20) {
            Ok(ServerFrame::Deliver(Deliver { events })) => events,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn joined_events_read_as_one_frame_of_both_codecs() {
        for codec in Codec::ALL {
            for count in [1, 2, 3, 300] {
                let events: Vec<Bytes> = (1..=count).map(|seq| event(seq, &[0x62, 0x00])).collect();
                let payload = encode_deliver(codec, &events)
                    .expect("encodes")
                    .expect("not empty");
                assert_eq!(payload.text, codec.is_text());
                assert_eq!(delivered(codec, payload), events);
            }
        }
        assert_eq!(encode_deliver(Codec::Proto, &[]), Ok(None));
    }

    #[test]
    fn a_frame_is_the_one_that_the_codec_would_write() {
        let given = event(7, b"");
        let encoded = EncodedEvent::new(&given).expect("an event");
        for codec in Codec::ALL {
            let frame = ServerFrame::Deliver(Deliver {
                events: vec![given.clone()],
            });
            let written = codec::encode_server(codec, &frame).expect("encodes");
            assert_eq!(encoded.frame(codec), written);
            assert_eq!(encoded.frame_len(codec), written.bytes.len());
        }
        assert_eq!((encoded.event(), encoded.view().seq), (given, 7));
    }

    #[test]
    fn connections_share_the_bytes_of_a_frame() {
        let encoded = EncodedEvent::new(&event(1, b"")).expect("an event");
        for codec in Codec::ALL {
            let (one, other) = (encoded.frame(codec), encoded.frame(codec));
            assert_eq!(one.bytes.as_ptr(), other.bytes.as_ptr());
        }
    }

    #[test]
    fn a_body_that_cannot_be_shown_leaves_the_header() {
        let encoded = EncodedEvent::new(&event(5, &[0xff, 0xff])).expect("an event");
        assert_eq!(encoded.json(), br#"{"header":{"seq":"5"}}"#.as_slice());
    }

    #[test]
    fn the_length_is_never_understated() {
        for codec in Codec::ALL {
            let mut builder = DeliverBuilder::new(codec);
            for seq in 1..=50 {
                builder.push(EncodedEvent::new(&event(seq, &[0x62, 0x00])).expect("an event"));
            }
            let (bound, count) = (builder.len_bound(), builder.count());
            let frame = builder.finish().expect("not empty");
            assert!(
                frame.bytes.len() <= bound,
                "{} > {bound}",
                frame.bytes.len()
            );
            assert_eq!(count, 50);
        }
    }
}
