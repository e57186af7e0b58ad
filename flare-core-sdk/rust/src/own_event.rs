//! The event that an own receipt stands for: the server delivers it to everybody but the device that made it.

use bytes::Bytes;
use flare_proto::{
    client::{Connected, SendAck},
    ids,
    message::{
        Content, ConversationClass, Event, EventBody, EventHeader, EventKind, MessageCreated,
        MessageRecalled, event_body::Body,
    },
};
use prost::Message;

use crate::{
    draft::Target,
    event::{ConversationEvent, Via},
    observer::Action,
};

/// `EventHeader.flags`: counts as unread.
const COUNTABLE: u32 = 1;
/// `EventHeader.flags`: mentions everybody.
const MENTIONS_ALL: u32 = 8;

/// As the server keeps it, but for what only the server knows: the participants of a direct conversation named by its id.
pub(crate) fn own_event(
    me: &Connected,
    target: &Target,
    action: &Action,
    ack: &SendAck,
) -> ConversationEvent {
    let class = if ids::is_direct(&ack.conversation_id) {
        ConversationClass::Direct
    } else {
        ConversationClass::Group
    };
    let mut header = EventHeader {
        tenant_id: me.tenant_id.clone(),
        conversation_id: ack.conversation_id.clone(),
        seq: ack.seq,
        ordinal: ack.ordinal,
        message_id: ack.message_id.clone(),
        sender_id: me.user_id.clone(),
        sender_device_id: me.device_id.clone(),
        time_ms: ack.time_ms,
        class: class.into(),
        client_id: ack.client_id.clone(),
        trace_id: trace_bytes(&ack.trace_id),
        ..EventHeader::default()
    };
    if let Target::User(user) = target {
        header.participants = vec![me.user_id.clone(), user.clone()];
        header.participants.sort();
    }
    let body = match action {
        Action::Send(content) => {
            header.set_kind(EventKind::MessageCreated);
            header.flags = COUNTABLE;
            // What was sent has been decoded by the server, so it decodes here.
            if let Ok(content) = Content::decode(content.clone()) {
                header.flags |= if content.mention_all { MENTIONS_ALL } else { 0 };
                header.mentions = content.mentions.into_iter().map(|it| it.user_id).collect();
            }
            Body::MessageCreated(MessageCreated {
                content: content.clone(),
            })
        }
        Action::Recall(seq) => {
            header.set_kind(EventKind::MessageRecalled);
            header.target_seq = *seq;
            Body::MessageRecalled(MessageRecalled { seq: *seq })
        }
    };
    let body: Bytes = EventBody { body: Some(body) }.encode_to_vec().into();
    let event = Event {
        header: Some(header.clone()),
        body: body.clone(),
    };
    ConversationEvent {
        header,
        body,
        raw: event.encode_to_vec().into(),
        via: Via::OwnAck,
    }
}

fn trace_bytes(hex: &str) -> Bytes {
    let digits = hex.as_bytes().chunks_exact(2);
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes.unwrap_or_default().into()
}
