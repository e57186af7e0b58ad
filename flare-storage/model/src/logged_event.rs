//! An event as the log and the store hold it: the bytes that went out, and what the servers read of them.

use bytes::Bytes;
use flare_proto::message::{Event, EventHeader, EventKind};
use prost::Message;
use ulid::Ulid;

use crate::{
    command_id::{Fingerprint, IdKey, Receipt, id_digest, parse_ulid},
    conversation_key::{ConversationKey, MAX_ID_BYTES},
};

/// Bits of `EventHeader.flags`.
pub mod flags {
    /// Counts as unread, and in `ordinal`. Every message is countable.
    pub const COUNTABLE: u32 = 1;
    /// Changes who may do what in the conversation.
    pub const MEMBERSHIP: u32 = 2;
    /// Sent by an API key.
    pub const VIA_API: u32 = 4;
    /// Mentions everybody in the conversation.
    pub const MENTION_ALL: u32 = 8;
}

/// Seqs stay below this, so that JSON numbers in clients hold them: 2^53.
pub const SEQ_LIMIT: u64 = 1 << 53;

/// Why bytes are no event, or a header no header of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The bytes are no `Event`.
    #[error("event does not decode: {0}")]
    Undecodable(#[from] prost::DecodeError),
    /// There is no header.
    #[error("event has no header")]
    NoHeader,
    /// An id that names the conversation is missing or too long.
    #[error("event's {field} has {bytes} bytes, not 1 to {MAX_ID_BYTES}")]
    IdLength {
        /// Which field of the header.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// `seq` is 0, or 2^53 and more.
    #[error("event {message_id} has seq {seq}, not 1 to 2^53 - 1")]
    Seq {
        /// The event's id.
        message_id: String,
        /// The wrong number.
        seq: u64,
    },
    /// `message_id` is no ULID.
    #[error("event's message_id {0:?} is no ULID")]
    MessageId(String),
    /// The fingerprint has a wrong length.
    #[error("event {message_id} has a fingerprint of {bytes} bytes, not 16")]
    FingerprintLength {
        /// The event's id.
        message_id: String,
        /// How long it is.
        bytes: usize,
    },
}

/// An event with its final place, and the fingerprint of the command that made it. Header and bytes always agree.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedEvent {
    header: EventHeader,
    key: ConversationKey,
    message_id: Ulid,
    event: Bytes,
    fingerprint: Fingerprint,
}

impl LoggedEvent {
    /// Makes an event from its header and the encoded body; the body's bytes go out as they are.
    pub fn create(
        header: EventHeader,
        body: Bytes,
        fingerprint: Fingerprint,
    ) -> Result<Self, EventError> {
        let event = Event {
            header: Some(header),
            body,
        };
        let bytes = Bytes::from(event.encode_to_vec());
        let header = event.header.ok_or(EventError::NoHeader)?;
        Self::checked(header, bytes, fingerprint)
    }

    /// Reads an event's bytes. The body is not looked at.
    pub fn parse(event: Bytes, fingerprint: Fingerprint) -> Result<Self, EventError> {
        let header = decode_header(event.clone())?;
        Self::checked(header, event, fingerprint)
    }

    fn checked(
        header: EventHeader,
        event: Bytes,
        fingerprint: Fingerprint,
    ) -> Result<Self, EventError> {
        for (field, id) in [
            ("tenant_id", &header.tenant_id),
            ("conversation_id", &header.conversation_id),
        ] {
            if id.is_empty() || id.len() > MAX_ID_BYTES {
                return Err(EventError::IdLength {
                    field,
                    bytes: id.len(),
                });
            }
        }
        if header.seq == 0 || header.seq >= SEQ_LIMIT {
            return Err(EventError::Seq {
                message_id: header.message_id,
                seq: header.seq,
            });
        }
        let Some(message_id) = parse_ulid(&header.message_id) else {
            return Err(EventError::MessageId(header.message_id));
        };
        let key = ConversationKey::new(header.tenant_id.as_str(), header.conversation_id.as_str());
        Ok(Self {
            header,
            key,
            message_id,
            event,
            fingerprint,
        })
    }

    /// The header.
    pub fn header(&self) -> &EventHeader {
        &self.header
    }

    /// The conversation.
    pub fn key(&self) -> &ConversationKey {
        &self.key
    }

    /// The number in the conversation.
    pub fn seq(&self) -> u64 {
        self.header.seq
    }

    /// The event's id.
    pub fn message_id(&self) -> Ulid {
        self.message_id
    }

    /// The encoded `Event`, header and body.
    pub fn event(&self) -> &Bytes {
        &self.event
    }

    /// The fingerprint of the command.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What the sender is told.
    pub fn receipt(&self) -> Receipt {
        Receipt {
            message_id: self.message_id,
            seq: self.header.seq,
            ordinal: self.header.ordinal,
            time_ms: self.header.time_ms,
        }
    }

    /// The command's identity; none for an event that follows from another one's command.
    pub fn id_key(&self) -> Option<IdKey> {
        (!self.header.client_id.is_empty()).then(|| {
            IdKey::new(
                self.key.clone(),
                self.header.sender_id.as_str(),
                self.header.client_id.as_str(),
            )
        })
    }

    /// [`IdKey::digest`] of [`Self::id_key`].
    pub fn id_digest(&self) -> Option<[u8; 16]> {
        (!self.header.client_id.is_empty())
            .then(|| id_digest(&self.key, &self.header.sender_id, &self.header.client_id))
    }

    /// Whether it creates a message.
    pub fn is_message(&self) -> bool {
        self.header.kind == EventKind::MessageCreated as i32
    }

    /// The seq of the message that it takes back, if it is a recall.
    pub fn recalls(&self) -> Option<u64> {
        (self.header.kind == EventKind::MessageRecalled as i32).then_some(self.header.target_seq)
    }

    /// What it adds to a log record at most, in bytes.
    pub fn record_bytes(&self) -> usize {
        self.event.len() + 32
    }
}

/// The header of an encoded `Event`.
pub fn decode_header(event: Bytes) -> Result<EventHeader, EventError> {
    Event::decode(event)?.header.ok_or(EventError::NoHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> EventHeader {
        EventHeader {
            tenant_id: "default".into(),
            conversation_id: "general".into(),
            seq: 1,
            ordinal: 1,
            message_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
            sender_id: "alice".into(),
            client_id: "1".into(),
            ..Default::default()
        }
    }

    const PRINT: Fingerprint = Fingerprint([7; 16]);

    #[test]
    fn what_is_created_is_parsed_again() {
        let created = LoggedEvent::create(header(), Bytes::from_static(b"\x0a\x00"), PRINT)
            .expect("a good event");
        let parsed = LoggedEvent::parse(created.event().clone(), PRINT).expect("a good event");
        assert_eq!(created, parsed);
        assert_eq!(parsed.header(), &header());
    }

    #[test]
    fn fields_that_this_version_does_not_know_stay_in_the_bytes() {
        let created = LoggedEvent::create(header(), Bytes::new(), PRINT).expect("a good event");
        let mut bytes = created.event().to_vec();
        bytes.extend_from_slice(&[0xca, 0x30, 0x01, 0x78]);
        let parsed = LoggedEvent::parse(Bytes::from(bytes.clone()), PRINT).expect("a good event");
        assert_eq!(parsed.event().as_ref(), bytes);
    }

    #[test]
    fn a_header_that_cannot_be_stored_is_refused() {
        let refusal = |change: fn(&mut EventHeader)| {
            let mut it = header();
            change(&mut it);
            LoggedEvent::create(it, Bytes::new(), PRINT)
                .expect_err("refused")
                .to_string()
        };
        assert!(refusal(|it| it.tenant_id.clear()).contains("tenant_id"));
        assert!(refusal(|it| it.conversation_id = "x".repeat(255)).contains("conversation_id"));
        assert!(refusal(|it| it.seq = 0).contains("seq 0"));
        assert!(refusal(|it| it.seq = SEQ_LIMIT).contains("seq 9007199254740992"));
        assert!(refusal(|it| it.message_id = "one".into()).contains("\"one\""));
    }
}
