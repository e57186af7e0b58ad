//! `flare.im.message.persisted`.

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    event_view::{EventView, NoEvent},
    message::{self, ConversationClass, EventBody, EventKind, event_body::Body},
};
use flare_server_core::event_bus::{BatchHandler, BusRecord, Handled};
use prost::Message;

use crate::{
    application::deliver::Deliver,
    domain::event::{Conversation, Event, Large, MemberChange},
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

    async fn reassigned(&self) {
        self.deliver.rosters.forget_all();
        self.deliver.large.forget_all();
    }
}

fn parse(payload: &Bytes) -> Result<Event, NoEvent> {
    let event = EventView::read(payload)?;
    let (change, begins_large) = change(event.kind(), event.body)?;
    let large = (event.class() == ConversationClass::Large).then_some(Large {
        begins: begins_large,
        changes_members: event.flags & MEMBERSHIP != 0,
    });
    Ok(Event {
        conversation: Conversation {
            tenant: event.tenant_id.to_owned(),
            id: event.conversation_id.to_owned(),
        },
        seq: event.seq,
        trace_id: payload.slice_ref(event.trace_id),
        sender: event.sender_id.to_owned(),
        sender_device: event.sender_device_id.to_owned(),
        participants: event
            .participants
            .iter()
            .map(|it| (*it).to_owned())
            .collect(),
        change,
        large,
        bytes: payload.clone(),
    })
}

/// The flag of a header that says that who may do what is another from this event on.
const MEMBERSHIP: u32 = 2;

/// What it changes, and whether the conversation is large from it on. Bodies are read of member events alone.
fn change(kind: EventKind, body: &[u8]) -> Result<(MemberChange, bool), prost::DecodeError> {
    if !matches!(
        kind,
        EventKind::ConversationCreated
            | EventKind::MembersAdded
            | EventKind::MemberRemoved
            | EventKind::MemberLeft
    ) {
        return Ok((MemberChange::None, false));
    }
    let names =
        |members: Vec<message::EventMember>| members.into_iter().map(|it| it.user_id).collect();
    Ok(match EventBody::decode(body)?.body {
        Some(Body::ConversationCreated(created)) => {
            let is_large = created.class() == ConversationClass::Large;
            (MemberChange::Joined(names(created.members)), is_large)
        }
        Some(Body::MembersAdded(added)) => {
            let becomes_large = added.class() == ConversationClass::Large;
            (MemberChange::Joined(names(added.members)), becomes_large)
        }
        Some(Body::MemberRemoved(removed)) => (MemberChange::Gone(removed.user_id), false),
        Some(Body::MemberLeft(left)) => (MemberChange::Gone(left.user_id), false),
        _ => (MemberChange::None, false),
    })
}
