//! Writes conversations as storage-writer would.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use flare_proto::message::{
    Content, ConversationClass, ConversationRenamed, EventBody, EventHeader, EventKind,
    EventMember, MembersAdded, MessageCreated, MessageRecalled, Text, content::Kind,
    event_body::Body,
};
use flare_storage_model::{
    ConversationKey, Cursor, Head, LoggedEvent, MessageStore, StoreBatch, direct_conversation_id,
    fingerprint, flags,
};
use prost::Message;
use ulid::Ulid;

/// The time of the first event. Each is a second after the one before it.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A tenant's log, committed as it is written.
pub(crate) struct Talk {
    store: Arc<dyn MessageStore>,
    tenant: &'static str,
    cursor: Cursor,
    heads: HashMap<ConversationKey, Head>,
    written: Vec<LoggedEvent>,
}

impl Talk {
    pub(crate) fn new(store: Arc<dyn MessageStore>, tenant: &'static str, partition: u64) -> Self {
        let mut cursor = Cursor::default();
        cursor.epoch.number = partition;
        Self {
            store,
            tenant,
            cursor,
            heads: HashMap::new(),
            written: Vec::new(),
        }
    }

    /// The bytes of all events of a conversation.
    pub(crate) fn events(&self, conversation: &str) -> Vec<Bytes> {
        let of_it = |it: &&LoggedEvent| *it.key().conversation == *conversation;
        self.written
            .iter()
            .filter(of_it)
            .map(|it| it.event().clone())
            .collect()
    }

    /// The message id of an event.
    pub(crate) fn id(&self, conversation: &str, seq: u64) -> String {
        let is_it =
            |it: &&LoggedEvent| *it.key().conversation == *conversation && it.header().seq == seq;
        self.written
            .iter()
            .find(is_it)
            .unwrap()
            .message_id()
            .to_string()
    }

    /// Messages in a group.
    pub(crate) async fn say(&mut self, conversation: &str, count: usize) {
        for _ in 0..count {
            self.text(conversation, "what was said").await;
        }
    }

    /// A message in a group.
    pub(crate) async fn text(&mut self, conversation: &str, text: &str) {
        let header = EventHeader {
            conversation_id: conversation.to_owned(),
            class: ConversationClass::Group.into(),
            ..said()
        };
        self.write(header, created(text)).await;
    }

    /// A message between two users; the conversation's id.
    pub(crate) async fn whisper(&mut self, sender: &str, peer: &str) -> String {
        let mut participants = vec![sender.to_owned(), peer.to_owned()];
        participants.sort();
        let conversation_id = direct_conversation_id(self.tenant, sender, peer);
        let header = EventHeader {
            conversation_id: conversation_id.clone(),
            class: ConversationClass::Direct.into(),
            participants,
            ..said()
        };
        self.write(header, created("between us")).await;
        conversation_id
    }

    /// Takes a message back.
    pub(crate) async fn recall(&mut self, conversation: &str, target_seq: u64) {
        let header = EventHeader {
            conversation_id: conversation.to_owned(),
            kind: EventKind::MessageRecalled.into(),
            class: ConversationClass::Group.into(),
            target_seq,
            ..EventHeader::default()
        };
        let body = Body::MessageRecalled(MessageRecalled { seq: target_seq });
        self.write(header, body).await;
    }

    /// Somebody is added.
    pub(crate) async fn add(&mut self, conversation: &str, user: &str) {
        let header = EventHeader {
            conversation_id: conversation.to_owned(),
            kind: EventKind::MembersAdded.into(),
            class: ConversationClass::Group.into(),
            flags: flags::MEMBERSHIP,
            ..EventHeader::default()
        };
        let member = EventMember {
            user_id: user.to_owned(),
            ..EventMember::default()
        };
        let members = vec![member];
        self.write(
            header,
            Body::MembersAdded(MembersAdded {
                members,
                ..MembersAdded::default()
            }),
        )
        .await;
    }

    /// An event that is no message.
    pub(crate) async fn rename(&mut self, conversation: &str) {
        let header = EventHeader {
            conversation_id: conversation.to_owned(),
            kind: EventKind::ConversationRenamed.into(),
            class: ConversationClass::Group.into(),
            ..EventHeader::default()
        };
        let title = "A better name".to_owned();
        let body = Body::ConversationRenamed(ConversationRenamed { title });
        self.write(header, body).await;
    }

    /// What the log has next and the store does not.
    pub(crate) async fn write(&mut self, header: EventHeader, body: Body) {
        let key = ConversationKey::new(self.tenant, header.conversation_id.as_str());
        let mut head = self.heads.get(&key).cloned().unwrap_or_default();
        let number = self.written.len() as u64 + 1;
        let time_ms = START_MS + i64::try_from(number).unwrap() * 1_000;
        let minted = u64::try_from(time_ms).unwrap();
        let salt = u128::from(self.cursor.epoch.number) << 64 | u128::from(number);
        let header = EventHeader {
            tenant_id: self.tenant.to_owned(),
            seq: head.seq + 1,
            ordinal: head.ordinal + u64::from(header.flags & flags::COUNTABLE),
            message_id: Ulid::from_parts(minted, salt).to_string(),
            sender_id: "alice".to_owned(),
            client_id: format!("c{number}"),
            time_ms,
            ..header
        };
        head.apply(&header).unwrap();
        // Field 777 is no version's: what a server does not know goes through unharmed.
        let mut body = EventBody { body: Some(body) }.encode_to_vec();
        body.extend_from_slice(&[0xca, 0x30, 0x01, 0x78]);
        let print = fingerprint(&header.conversation_id, &body);
        let event = LoggedEvent::create(header, Bytes::from(body), print).unwrap();
        let from = self.cursor;
        self.cursor.next_offset += 1;
        self.cursor.n += 1;
        let batch = StoreBatch {
            partition: u32::try_from(self.cursor.epoch.number).unwrap(),
            from,
            to: self.cursor,
            events: vec![event.clone()],
            heads: vec![(key.clone(), head.clone())],
        };
        self.store.commit(Arc::new(batch)).await.unwrap();
        self.heads.insert(key, head);
        self.written.push(event);
    }
}

fn said() -> EventHeader {
    EventHeader {
        kind: EventKind::MessageCreated.into(),
        flags: flags::COUNTABLE,
        ..EventHeader::default()
    }
}

fn created(text: &str) -> Body {
    let text = Text {
        text: text.to_owned(),
    };
    let content = Content {
        kind: Some(Kind::Text(text)),
        ..Content::default()
    };
    Body::MessageCreated(MessageCreated {
        content: content.encode_to_vec().into(),
    })
}
