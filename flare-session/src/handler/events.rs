//! The stream of events.

use std::{fmt::Display, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::message::{ConversationClass, Event, EventHeader, EventKind};
use flare_server_core::{
    event_bus::{BatchHandler, BusRecord, Handled},
    telemetry::{Batch, EventPlace, Spans},
};
use flare_storage_model::{ConversationKey, flags};
use prost::Message;

use crate::{
    application::stream::Stream,
    domain::{head::StreamEvent, role::Class},
};

/// The topic that this service reads.
pub const TOPIC: &str = "flare.im.message.persisted";
/// Under which name.
pub const GROUP: &str = "session";

/// Takes batches of `flare.im.message.persisted` in.
pub struct PersistedEvents {
    /// The use case.
    pub stream: Arc<Stream>,
    /// Of sampled traces.
    pub spans: Spans,
}

#[async_trait]
impl BatchHandler for PersistedEvents {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let mut events = Vec::with_capacity(batch.len());
        let mut told = Batch::new(&self.spans);
        let mut rejected = None;
        for (index, record) in batch.iter().enumerate() {
            match header(&record.payload) {
                Ok(header) => {
                    told.add(&header.trace_id, || EventPlace {
                        conversation: header.conversation_id.clone(),
                        seq: header.seq,
                        message_id: header.message_id.clone(),
                    });
                    events.push(from_header(header, record.payload.clone()));
                }
                // Those before it count as handled, so they must be.
                Err(reason) => {
                    rejected = Some(Handled::Reject { index, reason });
                    break;
                }
            }
        }
        let begun = Instant::now();
        let taken = self.stream.take(&events).await;
        let error = taken.as_ref().err().map(|it| it as &dyn Display);
        told.step("session.stream", begun.elapsed(), error);
        match (taken, rejected) {
            (Ok(()), None) => Handled::Ok,
            (Ok(()), Some(rejected)) => rejected,
            // The batch comes again.
            (Err(_), _) => Handled::Retry,
        }
    }
}

fn header(payload: &Bytes) -> Result<EventHeader, String> {
    let event = Event::decode(payload.clone()).map_err(|error| error.to_string())?;
    let header = event.header.ok_or("an event without a header")?;
    if header.seq == 0 || header.conversation_id.is_empty() {
        return Err(format!(
            "event {} has no place in a conversation",
            header.message_id
        ));
    }
    Ok(header)
}

fn from_header(header: EventHeader, encoded: Bytes) -> StreamEvent {
    let kind = header.kind();
    StreamEvent {
        class: match header.class() {
            ConversationClass::Direct => Class::Direct,
            ConversationClass::Group | ConversationClass::Unspecified => Class::Group,
        },
        recalls: (kind == EventKind::MessageRecalled && header.target_seq > 0)
            .then_some(header.target_seq),
        is_change: !matches!(
            kind,
            EventKind::Unspecified | EventKind::MessageCreated | EventKind::MessageRecalled
        ),
        key: ConversationKey::new(header.tenant_id, header.conversation_id),
        seq: header.seq,
        ordinal: header.ordinal,
        time_ms: header.time_ms,
        participants: header.participants.into_iter().map(Arc::from).collect(),
        from_device: !header.sender_device_id.is_empty(),
        sender: header.sender_id.into(),
        countable: header.flags & flags::COUNTABLE != 0,
        mentions: header.mentions.into_iter().map(Arc::from).collect(),
        mention_all: header.flags & flags::MENTION_ALL != 0,
        encoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_from_its_header() {
        let event = Event {
            header: Some(EventHeader {
                tenant_id: "t".into(),
                conversation_id: "d_x".into(),
                seq: 3,
                ordinal: 2,
                sender_id: "alice".into(),
                sender_device_id: "phone".into(),
                kind: EventKind::MessageRecalled.into(),
                class: ConversationClass::Direct.into(),
                flags: flags::MENTION_ALL,
                participants: vec!["alice".into(), "bob".into()],
                target_seq: 1,
                ..EventHeader::default()
            }),
            body: Bytes::from_static(b"not looked at"),
        };
        let payload = Bytes::from(event.encode_to_vec());
        let read = from_header(header(&payload).expect("an event"), payload.clone());
        assert_eq!(
            (read.class, read.recalls, read.from_device),
            (Class::Direct, Some(1), true)
        );
        assert_eq!(
            (read.countable, read.mention_all, read.is_change),
            (false, true, false)
        );
        assert_eq!(read.encoded, payload);
    }

    #[test]
    fn what_is_no_event_is_named() {
        assert!(header(&Bytes::from_static(&[0xff])).is_err());
        assert!(header(&Bytes::from(Event::default().encode_to_vec())).is_err());
        let placeless = Event {
            header: Some(EventHeader::default()),
            body: Bytes::new(),
        };
        assert!(header(&Bytes::from(placeless.encode_to_vec())).is_err());
    }
}
