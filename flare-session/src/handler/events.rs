//! The stream of events.

use std::{fmt::Display, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    event_view::EventView,
    message::{ConversationClass, EventKind},
};
use flare_server_core::{
    error::Refusal,
    event_bus::{BatchHandler, BusRecord, Follower, Frontier, Handled},
    telemetry::{Batch, EventPlace, Spans},
};
use flare_storage_model::{ConversationKey, flags};

use crate::{
    application::{heads::Heads, stream::Stream},
    domain::{head::StreamEvent, ids::SERVICE_PREFIX, role::Class},
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
            match view(&record.payload) {
                Ok(event) => {
                    told.add(event.trace_id, || EventPlace {
                        conversation: event.conversation_id.to_owned(),
                        seq: event.seq,
                        message_id: event.message_id.to_owned(),
                    });
                    events.push(from_view(&event, record.payload.clone()));
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

    async fn flush(&self) -> Result<(), Refusal> {
        self.stream.flush().await
    }
}

/// Follows all of `flare.im.message.persisted`, for the heads.
pub struct FollowedEvents {
    /// What it keeps current.
    pub heads: Arc<Heads>,
}

impl Follower for FollowedEvents {
    fn begins(&self, at: &Frontier) {
        self.heads.begin_anew(at);
    }

    fn take(&self, records: &[BusRecord]) {
        let event = |record: &BusRecord| {
            // One that is none is rejected by the group that writes the rows.
            let event = view(&record.payload).ok();
            (
                record.position,
                event.map(|it| from_view(&it, record.payload.clone())),
            )
        };
        self.heads
            .follow(&records.iter().map(event).collect::<Vec<_>>());
    }
}

fn view(payload: &Bytes) -> Result<EventView<'_>, String> {
    let event = EventView::read(payload).map_err(|error| error.to_string())?;
    if !event.has_header {
        return Err("an event without a header".to_owned());
    }
    if event.seq == 0 || event.conversation_id.is_empty() {
        return Err(format!(
            "event {} has no place in a conversation",
            event.message_id
        ));
    }
    Ok(event)
}

fn from_view(event: &EventView<'_>, encoded: Bytes) -> StreamEvent {
    let kind = event.kind();
    let is_change = !matches!(
        kind,
        EventKind::Unspecified | EventKind::MessageCreated | EventKind::MessageRecalled
    );
    let line = event.client_id.strip_prefix(SERVICE_PREFIX);
    StreamEvent {
        class: match event.class() {
            ConversationClass::Direct => Class::Direct,
            ConversationClass::Group | ConversationClass::Unspecified => Class::Group,
            ConversationClass::Large => Class::Large,
        },
        recalls: (kind == EventKind::MessageRecalled && event.target_seq > 0)
            .then_some(event.target_seq),
        is_change,
        line: line.filter(|_| is_change).map(Arc::from),
        key: ConversationKey::new(event.tenant_id, event.conversation_id),
        seq: event.seq,
        ordinal: event.ordinal,
        time_ms: event.time_ms,
        participants: event.participants.iter().map(|it| Arc::from(*it)).collect(),
        from_device: !event.sender_device_id.is_empty(),
        sender: event.sender_id.into(),
        is_membership: event.flags & flags::MEMBERSHIP != 0,
        countable: event.flags & flags::COUNTABLE != 0,
        mentions: event.mentions.iter().map(|it| Arc::from(*it)).collect(),
        mention_all: event.flags & flags::MENTION_ALL != 0,
        encoded,
    }
}

#[cfg(test)]
mod tests {
    use flare_proto::message::{Event, EventHeader};
    use prost::Message;

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
        let read = from_view(&view(&payload).expect("an event"), payload.clone());
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
    fn a_change_names_the_line_that_has_become_it() {
        let line = |kind: EventKind, client_id: &str| {
            let header = EventHeader {
                conversation_id: "g".into(),
                seq: 3,
                kind: kind.into(),
                client_id: client_id.into(),
                ..EventHeader::default()
            };
            let event = Event {
                header: Some(header),
                body: Bytes::new(),
            };
            let payload = Bytes::from(event.encode_to_vec());
            from_view(&view(&payload).expect("an event"), payload.clone()).line
        };
        assert_eq!(
            line(EventKind::MembersAdded, "flare:01J").as_deref(),
            Some("01J")
        );
        assert_eq!(line(EventKind::MembersAdded, "01J"), None);
        assert_eq!(line(EventKind::MessageCreated, "flare:01J"), None);
    }

    #[test]
    fn what_is_no_event_is_named() {
        assert!(view(&Bytes::from_static(&[0xff])).is_err());
        assert!(view(&Bytes::from(Event::default().encode_to_vec())).is_err());
        let placeless = Event {
            header: Some(EventHeader::default()),
            body: Bytes::new(),
        };
        assert!(view(&Bytes::from(placeless.encode_to_vec())).is_err());
    }
}
