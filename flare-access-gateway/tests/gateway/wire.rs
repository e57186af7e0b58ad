//! Messages as bytes.

use bytes::{Buf, BufMut, Bytes};
use flare_proto::{message, storage};
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Messages as their bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// An event's bytes.
pub(crate) fn event(conversation: &str, seq: u64, body: usize) -> Bytes {
    let text = message::Content {
        kind: Some(message::content::Kind::Text(message::Text {
            text: "x".repeat(body),
        })),
        ..message::Content::default()
    };
    let body = message::EventBody {
        body: Some(message::event_body::Body::MessageCreated(
            message::MessageCreated {
                content: text.encode_to_vec().into(),
            },
        )),
    };
    let header = message::EventHeader {
        conversation_id: conversation.to_owned(),
        seq,
        ..message::EventHeader::default()
    };
    message::Event {
        header: Some(header),
        body: body.encode_to_vec().into(),
    }
    .encode_to_vec()
    .into()
}

/// What the reader answers for one event.
pub(crate) fn one_event(conversation: &str) -> Bytes {
    let range = storage::RangeResult {
        conversation_id: conversation.to_owned(),
        events: vec![event(conversation, 1, 5)],
        head_seq: 1,
        ..storage::RangeResult::default()
    };
    storage::ReadRangesResponse {
        ranges: vec![range],
    }
    .encode_to_vec()
    .into()
}
