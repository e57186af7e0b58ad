#![doc = include_str!("../README.md")]

use std::collections::HashSet;

use anyhow::Context;
use bytes::Bytes;
use flare_checker::{Kind, MemberChange, ServerEvent, body_hash};
use flare_proto::message::{
    Event, EventBody, EventKind, EventMember, HistoryVisibility, event_body::Body,
};
use prost::Message;

/// Translates events, each conversation's in the order of their seqs.
#[derive(Debug, Default)]
pub struct Translator {
    /// Conversations whose members read from their joining on.
    since_join: HashSet<(String, String)>,
}

impl Translator {
    /// What the checker needs to know of an encoded event.
    pub fn event(&mut self, bytes: Bytes) -> anyhow::Result<ServerEvent> {
        let event = Event::decode(bytes)?;
        let header = event.header.context("an event without a header")?;
        let body = EventBody::decode(event.body)?.body;
        let conversation = (header.tenant_id.clone(), header.conversation_id.clone());
        if let Some(Body::ConversationCreated(created)) = &body
            && created.history_visibility() == HistoryVisibility::SinceJoin
        {
            self.since_join.insert(conversation.clone());
        }
        let history_from = (!self.since_join.contains(&conversation)).then_some(1);
        let joined = |members: &[EventMember]| {
            members
                .iter()
                .map(|it| MemberChange::Joined {
                    user: it.user_id.clone(),
                    history_from,
                })
                .collect::<Vec<_>>()
        };
        let member_changes = match &body {
            Some(Body::ConversationCreated(created)) => joined(&created.members),
            Some(Body::MembersAdded(added)) => joined(&added.members),
            Some(Body::MemberRemoved(removed)) => vec![MemberChange::Removed {
                user: removed.user_id.clone(),
            }],
            Some(Body::MemberLeft(left)) => vec![MemberChange::Removed {
                user: left.user_id.clone(),
            }],
            _ => Vec::new(),
        };
        let kind = match header.kind() {
            // The system says it: nobody's membership is asked for.
            EventKind::MessageCreated if header.sender_id.is_empty() => Kind::Other,
            EventKind::MessageCreated => Kind::Message,
            EventKind::MessageRecalled if header.sender_id.is_empty() => Kind::Other,
            EventKind::MessageRecalled => Kind::Recall,
            _ => Kind::Member,
        };
        Ok(ServerEvent {
            tenant: header.tenant_id,
            conversation: header.conversation_id,
            seq: header.seq,
            ordinal: header.ordinal,
            message_id: header.message_id,
            sender: header.sender_id,
            client_id: header.client_id,
            body_hash: match &body {
                Some(Body::MessageCreated(created)) => Some(body_hash(&created.content)),
                _ => None,
            },
            time_ms: header.time_ms,
            kind,
            member_changes,
            participants: header.participants,
            recalled_seq: (header.target_seq > 0).then_some(header.target_seq),
        })
    }
}
