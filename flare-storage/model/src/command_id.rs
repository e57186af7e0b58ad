//! What makes a command happen once: who sent it under which id, what it said, and the receipt it got.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};
use ulid::Ulid;
use uuid::Uuid;

use crate::conversation_key::{ConversationKey, update_prefixed};

/// The identity of a command: its client id is unique among the sender's commands to the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdKey {
    /// Where the command went.
    pub conversation: ConversationKey,
    /// Who sent it; empty: the system.
    pub sender: Arc<str>,
    /// Chosen by the sender.
    pub client_id: Arc<str>,
}

impl IdKey {
    /// Names a command.
    pub fn new(
        conversation: ConversationKey,
        sender: impl Into<Arc<str>>,
        client_id: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            conversation,
            sender: sender.into(),
            client_id: client_id.into(),
        }
    }

    /// The first 16 bytes of SHA-256 over the length-prefixed parts: a key of fixed size for tables. Nobody can choose client ids so
    /// that two commands meet.
    pub fn digest(&self) -> [u8; 16] {
        id_digest(&self.conversation, &self.sender, &self.client_id)
    }
}

/// [`IdKey::digest`] of parts that are at hand.
pub(crate) fn id_digest(conversation: &ConversationKey, sender: &str, client_id: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in [
        &conversation.tenant,
        &conversation.conversation,
        sender,
        client_id,
    ] {
        update_prefixed(&mut hash, part.as_bytes());
    }
    first_16(hash)
}

/// The final place of a command's event: what the sender is told, at first and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The event's id.
    pub message_id: Ulid,
    /// The event's number in its conversation, from 1.
    pub seq: u64,
    /// How many countable events the conversation has up to and including this one.
    pub ordinal: u64,
    /// When the owner placed it. Unix milliseconds.
    pub time_ms: i64,
}

/// Tells whether a command that bears a known client id says the same as the first one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The fingerprint of a command: the first 16 bytes of SHA-256 over the length-prefixed target (what the command is about, as the caller
/// named it) and the content's bytes as received, before any hook.
pub fn fingerprint(target: impl AsRef<[u8]>, content: &[u8]) -> Fingerprint {
    let mut hash = Sha256::new();
    update_prefixed(&mut hash, target.as_ref());
    hash.update(content);
    Fingerprint(first_16(hash))
}

/// When the client id was minted, in Unix milliseconds, if it says so: a ULID or a UUID of version 7 (in any of their usual spellings).
pub fn minted_ms(client_id: &str) -> Option<i64> {
    let ms = match client_id.len() {
        26 => parse_ulid(client_id)?.timestamp_ms(),
        _ => {
            let uuid = Uuid::try_parse(client_id).ok()?;
            if uuid.get_version_num() != 7 {
                return None;
            }
            u64::try_from(uuid.as_u128() >> 80).ok()?
        }
    };
    i64::try_from(ms).ok()
}

/// Reads a ULID; unlike the library, refuses one above the largest instead of cutting it.
pub(crate) fn parse_ulid(text: &str) -> Option<Ulid> {
    if text.bytes().next()? > b'7' {
        return None;
    }
    Ulid::from_string(text).ok()
}

fn first_16(hash: Sha256) -> [u8; 16] {
    let digest = hash.finalize();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_carry_their_time_tell_it() {
        // The example of the ULID specification, and of RFC 9562 for version 7.
        assert_eq!(
            minted_ms("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
            Some(1_469_922_850_259)
        );
        assert_eq!(
            minted_ms("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
            Some(1_645_557_742_000)
        );
        assert_eq!(
            minted_ms("017f22e279b07cc398c4dc0c0c07398f"),
            Some(1_645_557_742_000)
        );
    }

    #[test]
    fn other_ids_tell_no_time() {
        for id in [
            "",
            "42",
            "order-4711",
            // Version 4, then a first character above 7, then a letter that Crockford's base32 has not.
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
            "消息消息消息消息xx",
        ] {
            assert_eq!(minted_ms(id), None, "{id}");
        }
    }

    #[test]
    fn a_fingerprint_tells_target_from_content() {
        let one = fingerprint("general", b"hello");
        assert_eq!(one, fingerprint("general", b"hello"));
        assert_ne!(one, fingerprint("general", b"hello!"));
        assert_ne!(one, fingerprint("genera", b"lhello"));
    }

    #[test]
    fn digests_differ_in_every_part_of_the_key() {
        let key = |tenant: &str, conversation: &str, sender: &str, client: &str| {
            IdKey::new(ConversationKey::new(tenant, conversation), sender, client).digest()
        };
        let digests = [
            key("t", "c", "s", "i"),
            key("u", "c", "s", "i"),
            key("t", "d", "s", "i"),
            key("t", "c", "r", "i"),
            key("t", "c", "s", "j"),
            key("t", "cs", "", "i"),
        ];
        for (index, one) in digests.iter().enumerate() {
            assert!(!digests[index + 1..].contains(one));
        }
    }
}
