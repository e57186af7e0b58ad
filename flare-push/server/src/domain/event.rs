//! What delivery needs to know of an event.

use bytes::Bytes;

/// A conversation of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    /// The tenant.
    pub tenant: String,
    /// The conversation's id.
    pub id: String,
}

/// How an event changes who is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Nothing changes.
    None,
    /// These join.
    Joined(Vec<String>),
    /// This one leaves or is removed; he gets the event.
    Gone(String),
}

impl MemberChange {
    /// Whom it names.
    pub fn named(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::Joined(users) => users,
            Self::Gone(user) => std::slice::from_ref(user),
        }
    }
}

/// What an event is to its large conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Large {
    /// The conversation is large from this event on: it is made so, or grows.
    pub begins: bool,
    /// It changes who is a member, or who may do what.
    pub changes_members: bool,
}

/// An event on its way to devices.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it happened.
    pub conversation: Conversation,
    /// Its place.
    pub seq: u64,
    /// W3C trace id, 16 bytes; may be empty.
    pub trace_id: Bytes,
    /// Whose connection it came over: that device gets no delivery. Empty: it came another way.
    pub sender: String,
    /// That connection's device.
    pub sender_device: String,
    /// Both users of a direct conversation; empty: see the roster.
    pub participants: Vec<String>,
    /// What it does to the roster.
    pub change: MemberChange,
    /// Of a large conversation: its members are not looked up one by one.
    pub large: Option<Large>,
    /// The event as encoded.
    pub bytes: Bytes,
}
