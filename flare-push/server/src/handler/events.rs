//! `flare.im.message.persisted`.

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::message::{self, EventBody, EventKind, event_body::Body};
use flare_server_core::event_bus::{BatchHandler, BusRecord, Handled};
use prost::Message;

use crate::{
    application::deliver::Deliver,
    domain::event::{Conversation, Event, MemberChange},
};

/// Delivers what the stream brings.
pub struct Events {
    /// The use case.
    pub deliver: Deliver,
}

#[async_trait]
impl BatchHandler for Events {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let mut events = Vec::with_capacity(batch.len());
        for (index, record) in batch.iter().enumerate() {
            match parse(&record.payload) {
                Ok(event) => events.push(event),
                Err(reason) => {
                    // Those before it are delivered first; it goes to the dead letters.
                    return match self.deliver.batch(&events).await {
                        Ok(()) => Handled::Reject {
                            index,
                            reason: reason.to_string(),
                        },
                        Err(_) => Handled::Retry,
                    };
                }
            }
        }
        match self.deliver.batch(&events).await {
            Ok(()) => Handled::Ok,
            // It is reported; they come again.
            Err(_) => Handled::Retry,
        }
    }
}

fn parse(payload: &Bytes) -> Result<Event, prost::DecodeError> {
    let event = message::Event::decode(payload.clone())?;
    let header = event.header.unwrap_or_default();
    let change = change(header.kind(), &event.body)?;
    Ok(Event {
        conversation: Conversation {
            tenant: header.tenant_id,
            id: header.conversation_id,
        },
        seq: header.seq,
        message_id: header.message_id,
        trace_id: header.trace_id,
        sender: header.sender_id,
        sender_device: header.sender_device_id,
        participants: header.participants,
        change,
        bytes: payload.clone(),
    })
}

/// Bodies are read of member events alone.
fn change(kind: EventKind, body: &Bytes) -> Result<MemberChange, prost::DecodeError> {
    if !matches!(
        kind,
        EventKind::ConversationCreated
            | EventKind::MembersAdded
            | EventKind::MemberRemoved
            | EventKind::MemberLeft
    ) {
        return Ok(MemberChange::None);
    }
    let names =
        |members: Vec<message::EventMember>| members.into_iter().map(|it| it.user_id).collect();
    Ok(match EventBody::decode(body.clone())?.body {
        Some(Body::ConversationCreated(created)) => MemberChange::Joined(names(created.members)),
        Some(Body::MembersAdded(added)) => MemberChange::Joined(names(added.members)),
        Some(Body::MemberRemoved(removed)) => MemberChange::Gone(removed.user_id),
        Some(Body::MemberLeft(left)) => MemberChange::Gone(left.user_id),
        _ => MemberChange::None,
    })
}
