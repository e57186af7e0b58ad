//! What the examples of several decoders are made of.

use bytes::Bytes;
use flare_proto::message::{
    Content, ConversationClass, Event, EventBody, EventHeader, EventKind, MessageCreated, Text,
    content::Kind, event_body::Body,
};
use prost::Message;

/// A content that says so.
pub(crate) fn text(said: &str) -> Bytes {
    content(Kind::Text(Text {
        text: said.to_owned(),
    }))
}

pub(crate) fn content(kind: Kind) -> Bytes {
    Content {
        kind: Some(kind),
        ..Content::default()
    }
    .encode_to_vec()
    .into()
}

/// A message's header at this seq.
pub(crate) fn header(seq: u64) -> EventHeader {
    EventHeader {
        tenant_id: "default".to_owned(),
        conversation_id: "team".to_owned(),
        seq,
        ordinal: seq,
        message_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        sender_id: "alice".to_owned(),
        sender_device_id: "phone".to_owned(),
        time_ms: 1_700_000_000_000,
        kind: EventKind::MessageCreated.into(),
        flags: 1,
        class: ConversationClass::Group.into(),
        participants: Vec::new(),
        mentions: vec!["bob".to_owned()],
        client_id: format!("m{seq}"),
        trace_id: Bytes::from_static(&[7; 16]),
        target_seq: 0,
    }
}

/// The body of a message with this content.
pub(crate) fn message_body(content: Bytes) -> Bytes {
    let body = Body::MessageCreated(MessageCreated { content });
    EventBody { body: Some(body) }.encode_to_vec().into()
}

/// A message as an event.
pub(crate) fn event(seq: u64, content: Bytes) -> Event {
    Event {
        header: Some(header(seq)),
        body: message_body(content),
    }
}
