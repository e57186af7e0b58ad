//! How far a consumer has come: what a later run of the same device goes on from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Event;

/// How far the events of a client have been consumed. Kept by the owner beside what the events made of his own state, it lets a later run go on without a
/// hole and without a repetition. Its serialised form is stable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursors {
    /// By conversation.
    pub conversations: BTreeMap<String, Cursor>,
    /// The last token of the inbox, all of whose changes were consumed; opaque.
    pub inbox_token: String,
}

/// How far one conversation has been consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// The last seq; `None` while the conversation has been heard of and not begun.
    pub seq: Option<u64>,
    /// The highest seq that was heard of.
    pub heard_seq: u64,
}

impl Cursors {
    /// The last consumed seq of a conversation.
    pub fn seq(&self, conversation_id: &str) -> Option<u64> {
        self.conversations.get(conversation_id)?.seq
    }

    pub(crate) fn consume(&mut self, event: &Event) {
        match event {
            Event::Conversation(it) => {
                self.reached(&it.header.conversation_id, it.header.seq);
            }
            Event::Snapshot {
                conversation_id,
                as_of_seq,
                ..
            } => self.reached(conversation_id, *as_of_seq),
            Event::Floor {
                conversation_id,
                floor_seq,
            } => self.reached(conversation_id, floor_seq.saturating_sub(1)),
            Event::SyncedTo {
                conversation_id,
                seq,
            } => self.reached(conversation_id, *seq),
            Event::Unreadable {
                conversation_id, ..
            } => {
                if let Some(cursor) = self.conversations.get_mut(conversation_id) {
                    cursor.heard_seq = cursor.seq.unwrap_or_default();
                }
            }
            Event::InboxChanged(entry) => {
                if let Some(conversation) = &entry.conversation {
                    let cursor = self.entry(&conversation.conversation_id);
                    cursor.heard_seq = cursor.heard_seq.max(entry.head_seq);
                }
            }
            Event::Connected(_)
            | Event::Disconnected { .. }
            | Event::InboxSynced
            | Event::Signal(_) => {}
        }
    }

    fn reached(&mut self, conversation_id: &str, seq: u64) {
        let cursor = self.entry(conversation_id);
        cursor.seq = Some(cursor.seq.unwrap_or_default().max(seq));
        cursor.heard_seq = cursor.heard_seq.max(seq);
    }

    fn entry(&mut self, conversation_id: &str) -> &mut Cursor {
        self.conversations
            .entry(conversation_id.to_owned())
            .or_default()
    }
}
