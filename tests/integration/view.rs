//! What a person's device has seen so far.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use flare_core_sdk::{Cursors, DisconnectReason, Event, Via};
use flare_proto::{
    client::Signal,
    ids,
    message::{EventBody, EventKind, event_body::Body},
    session::{InboxEntry, MembershipState},
};
use prost::Message;

/// Texts up to this many bytes are kept; of longer ones the length is.
const KEPT_TEXT_BYTES: usize = 512;
/// Signals and connections are remembered as far back as this.
const KEPT_NEWS: usize = 1_000;

/// An event of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) kind: EventKind,
    pub(crate) sender: String,
    pub(crate) message_id: String,
    pub(crate) via: Via,
    /// A message's text, if it is short.
    pub(crate) text: Option<String>,
    /// A message's text in bytes.
    pub(crate) text_bytes: usize,
    /// What it recalls.
    pub(crate) target_seq: u64,
    /// What it changed, if it is no message.
    pub(crate) change: Option<Body>,
}

impl Seen {
    /// Whether the user belongs to the conversation after this event; `None` if it is not about that.
    pub(crate) fn membership_of(&self, user: &str) -> Option<bool> {
        match self.change.as_ref()? {
            Body::ConversationCreated(it) => it
                .members
                .iter()
                .any(|it| it.user_id == user)
                .then_some(true),
            Body::MembersAdded(it) => it
                .members
                .iter()
                .any(|it| it.user_id == user)
                .then_some(true),
            Body::MemberRemoved(it) => (it.user_id == user).then_some(false),
            Body::MemberLeft(it) => (it.user_id == user).then_some(false),
            _ => None,
        }
    }
}

/// A device's view. It outlives connections, and the device's being away.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) events: BTreeMap<String, BTreeMap<u64, Seen>>,
    pub(crate) inbox: BTreeMap<String, InboxEntry>,
    pub(crate) signals: VecDeque<Signal>,
    /// Why connections ended, and attempts at them failed.
    pub(crate) ends: VecDeque<DisconnectReason>,
    /// Conversations that were refused to it.
    pub(crate) unreadable: BTreeMap<String, String>,
    pub(crate) floors: BTreeMap<String, u64>,
    pub(crate) cursors: Cursors,
    pub(crate) is_online: bool,
    /// Nothing follows.
    pub(crate) has_ended: bool,
    /// How many connections there were.
    pub(crate) connections: u64,
    /// The inbox was told to its end on the present connection.
    pub(crate) inbox_synced: bool,
}

impl View {
    /// Takes in what the client told.
    pub(crate) fn take(&mut self, event: Event) {
        match event {
            Event::Connected(_) => {
                self.connections += 1;
                self.is_online = true;
                self.inbox_synced = false;
            }
            Event::Disconnected { reason, retry_in } => {
                self.is_online = false;
                self.inbox_synced = false;
                self.has_ended |= retry_in.is_none();
                keep(&mut self.ends, reason);
            }
            Event::Conversation(event) => {
                let text = event.text();
                let change = match event.kind() {
                    EventKind::MessageCreated | EventKind::MessageRecalled => None,
                    _ => EventBody::decode(event.body.clone())
                        .ok()
                        .and_then(|it| it.body),
                };
                let seen = Seen {
                    kind: event.kind(),
                    sender: event.header.sender_id.clone(),
                    message_id: event.header.message_id.clone(),
                    via: event.via,
                    text_bytes: text.as_deref().map_or(0, str::len),
                    text: text.filter(|it| it.len() <= KEPT_TEXT_BYTES),
                    target_seq: event.header.target_seq,
                    change,
                };
                self.events
                    .entry(event.header.conversation_id.clone())
                    .or_default()
                    .insert(event.header.seq, seen);
            }
            Event::Snapshot { .. } | Event::SyncedTo { .. } => {}
            Event::Floor {
                conversation_id,
                floor_seq,
            } => {
                self.floors.insert(conversation_id, floor_seq);
            }
            Event::Unreadable {
                conversation_id,
                refusal,
            } => {
                self.unreadable
                    .insert(conversation_id, refusal.code.as_str_name().to_owned());
            }
            Event::InboxChanged(entry) => {
                if let Some(conversation) = &entry.conversation {
                    self.inbox
                        .insert(conversation.conversation_id.clone(), *entry);
                }
            }
            Event::InboxSynced => self.inbox_synced = true,
            Event::Signal(signal) => keep(&mut self.signals, *signal),
        }
    }

    /// All that it heard of, on the connection that it has, it has read.
    pub(crate) fn is_in_step(&self) -> bool {
        let is_read = |it: &flare_core_sdk::Cursor| it.seq.unwrap_or_default() >= it.heard_seq;
        self.is_online && self.inbox_synced && self.cursors.conversations.values().all(is_read)
    }

    /// The last seq up to which it has read a conversation.
    pub(crate) fn read_to(&self, conversation: &str) -> u64 {
        self.cursors.seq(conversation).unwrap_or_default()
    }

    /// How much it has read of all conversations together.
    pub(crate) fn read_in_all(&self) -> u64 {
        let conversations = self.cursors.conversations.values();
        conversations.filter_map(|it| it.seq).sum()
    }

    /// Conversations of which `user` is a member, as far as it knows: by the last event about him, else by the inbox.
    pub(crate) fn memberships(&self, user: &str) -> Vec<String> {
        let all: BTreeSet<&String> = self.events.keys().chain(self.inbox.keys()).collect();
        all.into_iter()
            .filter(|it| self.belongs_to(it, user))
            .cloned()
            .collect()
    }

    /// Whether `user` is a member, likewise.
    pub(crate) fn belongs_to(&self, conversation: &str, user: &str) -> bool {
        let events = self.events.get(conversation);
        let told = events
            .into_iter()
            .flatten()
            .rev()
            .find_map(|(_, seen)| seen.membership_of(user));
        let listed = || {
            self.inbox
                .get(conversation)
                .is_some_and(|it| it.state() == MembershipState::Active)
        };
        told.unwrap_or_else(|| ids::is_direct(conversation) || listed())
    }

    /// The events of a conversation, by seq.
    pub(crate) fn events_of(&self, conversation: &str) -> impl Iterator<Item = (u64, &Seen)> {
        self.events
            .get(conversation)
            .into_iter()
            .flatten()
            .map(|(seq, seen)| (*seq, seen))
    }

    /// The seq of a message by its text.
    pub(crate) fn find(&self, conversation: &str, text: &str) -> Option<u64> {
        self.events_of(conversation)
            .find(|(_, it)| it.text.as_deref() == Some(text))
            .map(|(seq, _)| seq)
    }
}

fn keep<T>(news: &mut VecDeque<T>, item: T) {
    if news.len() == KEPT_NEWS {
        news.pop_front();
    }
    news.push_back(item);
}
