//! How a conversation is named inside the servers, and where its events go.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_64;

/// The longest tenant or conversation id that a store row can bear, in bytes. The contract allows far less.
pub const MAX_ID_BYTES: usize = 254;

/// A conversation of a tenant. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey {
    /// The tenant's id.
    pub tenant: Arc<str>,
    /// The conversation's id, unique in the tenant.
    pub conversation: Arc<str>,
}

impl ConversationKey {
    /// Names a conversation. The ids are taken as they are: who receives them from outside validates them.
    pub fn new(tenant: impl Into<Arc<str>>, conversation: impl Into<Arc<str>>) -> Self {
        Self {
            tenant: tenant.into(),
            conversation: conversation.into(),
        }
    }

    /// Appends the form that store keys begin with: each id behind a byte that tells its length, so that no conversation's keys are a
    /// prefix of another's. Ids longer than [`MAX_ID_BYTES`] are never stored; they get a length that no stored id has.
    pub fn encode_to(&self, out: &mut Vec<u8>) {
        for id in [&self.tenant, &self.conversation] {
            out.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(id.as_bytes());
        }
    }
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.conversation)
    }
}

impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationKey({self})")
    }
}

/// The id of the direct conversation of two users: `d_` and 26 characters of lower-case base32 of SHA-256 over the length-prefixed tenant
/// and sorted users. The same whichever user comes first.
pub fn direct_conversation_id(tenant: &str, a: &str, b: &str) -> String {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut hash = Sha256::new();
    for part in [tenant, low, high] {
        update_prefixed(&mut hash, part.as_bytes());
    }
    let digest = hash.finalize();
    let mut id = String::with_capacity(28);
    id.push_str("d_");
    for index in 0..26_usize {
        let bit = index * 5;
        let pair = u16::from_be_bytes([digest[bit / 8], digest[bit / 8 + 1]]);
        let five = (pair >> (11 - bit % 8)) & 31;
        id.push(char::from(
            b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(five)],
        ));
    }
    id
}

/// The partition of the log that holds the conversation: xxh3 of `tenant/conversation` modulo `partitions` (0 counts as 1). The stream of what is
/// committed has its keys in this form and hashes them so: what one partition commits together goes through one lane of as many.
pub fn partition_of(key: &ConversationKey, partitions: u32) -> u32 {
    if partitions <= 1 {
        return 0;
    }
    let place = place_of(&key.tenant, &key.conversation);
    u32::try_from(place % u64::from(partitions)).unwrap_or(0)
}

/// What [`partition_of`] takes modulo the partitions: for who does not know yet how many there are.
pub fn place_of(tenant: &str, conversation: &str) -> u64 {
    // Ids that the contract allows need no memory of their own.
    let mut room = [0; 1 + flare_proto::ids::MAX_TENANT_ID_BYTES + flare_proto::ids::MAX_ID_BYTES];
    let length = tenant.len() + 1 + conversation.len();
    let mut long = Vec::new();
    let bytes = match room.get_mut(..length) {
        Some(room) => room,
        None => {
            long.resize(length, 0);
            long.as_mut_slice()
        }
    };
    let (first, rest) = bytes.split_at_mut(tenant.len());
    let (between, second) = rest.split_at_mut(1);
    first.copy_from_slice(tenant.as_bytes());
    between.fill(b'/');
    second.copy_from_slice(conversation.as_bytes());
    xxh3_64(bytes)
}

/// Feeds `part` behind its length, so that no two lists of parts give the same input.
pub(crate) fn update_prefixed(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_conversation_has_one_id_for_both_users() {
        let id = direct_conversation_id("default", "alice", "bob");
        assert_eq!(id, direct_conversation_id("default", "bob", "alice"));
        assert_eq!(id.len(), 28);
        assert!(id.strip_prefix("d_").is_some_and(|rest| {
            rest.bytes()
                .all(|it| it.is_ascii_lowercase() || (b'2'..=b'7').contains(&it))
        }));
    }

    #[test]
    fn a_direct_conversation_id_never_changes_between_versions() {
        // From Python: base64.b32encode(sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).digest()).lower()[:26]
        assert_eq!(
            direct_conversation_id("default", "alice", "bob"),
            "d_ppxwabx2waawdrzxpq2xjm7n6d"
        );
    }

    #[test]
    fn other_splits_of_the_same_letters_are_other_conversations() {
        let ids = [
            direct_conversation_id("default", "ab", "c"),
            direct_conversation_id("default", "a", "bc"),
            direct_conversation_id("defaul", "tab", "c"),
        ];
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        let mut one = Vec::new();
        let mut other = Vec::new();
        ConversationKey::new("a", "bc").encode_to(&mut one);
        ConversationKey::new("ab", "c").encode_to(&mut other);
        assert_ne!(one, other);
    }

    #[test]
    fn partitions_are_spread_and_never_change_between_versions() {
        let mut seen = [0_u32; 64];
        for index in 0..6_400 {
            let key = ConversationKey::new("default", format!("g_{index}"));
            seen[partition_of(&key, 64) as usize] += 1;
            assert_eq!(partition_of(&key, 1), 0);
            assert_eq!(partition_of(&key, 0), 0);
            // As the stream hashes its keys.
            let in_stream = xxh3_64(key.to_string().as_bytes());
            assert_eq!(place_of(&key.tenant, &key.conversation), in_stream);
        }
        assert!(
            seen.iter().all(|count| (50..200).contains(count)),
            "{seen:?}"
        );
        assert_eq!(
            partition_of(&ConversationKey::new("default", "general"), 64),
            27
        );
    }
}
