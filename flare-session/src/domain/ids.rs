//! Which ids and titles are taken from outside.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::rule::Rule;

/// The longest user, device, conversation or client id, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Ids of direct conversations begin so; no group's does.
pub const DIRECT_PREFIX: &str = "d_";
/// Client ids that begin so belong to services.
pub const SERVICE_PREFIX: &str = "flare:";

/// Checks an id that came in `field`: 1 to 64 characters of `A-Za-z0-9._:@+=~-`, not `.` or `..`.
pub fn check_id(field: &'static str, id: &str) -> Result<(), Rule> {
    let well_formed = (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"._:@+=~-".contains(&it))
        && id != "."
        && id != "..";
    if well_formed {
        Ok(())
    } else {
        Err(Rule::Id {
            field,
            id: shown(id),
        })
    }
}

/// Checks the id of a group that is to be created.
pub fn check_group_id(field: &'static str, id: &str) -> Result<(), Rule> {
    check_id(field, id)?;
    if is_direct(id) {
        Err(Rule::Id {
            field,
            id: shown(id),
        })
    } else {
        Ok(())
    }
}

/// Checks the client id of a command.
pub fn check_client_id(id: &str) -> Result<(), Rule> {
    check_id("client_id", id)?;
    if id.starts_with(SERVICE_PREFIX) {
        return Err(Rule::Id {
            field: "client_id",
            id: shown(id),
        });
    }
    Ok(())
}

/// Checks a title: at most `max_chars` characters, none of them a control character. It may be empty.
pub fn check_title(title: &str, max_chars: usize) -> Result<(), Rule> {
    let chars = title.chars().count();
    if chars > max_chars {
        return Err(Rule::TitleTooLong { chars, max_chars });
    }
    if title.chars().any(char::is_control) {
        Err(Rule::TitleControl)
    } else {
        Ok(())
    }
}

/// Whether the id is one of a direct conversation.
pub fn is_direct(conversation: &str) -> bool {
    conversation.starts_with(DIRECT_PREFIX)
}

/// The id of a group whose creator named none: the same for each retry of the command, so that a retry finds what the first try made.
pub fn group_id(tenant: &str, sender: &str, client_id: &str) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in [tenant, sender, client_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut id = String::with_capacity(28);
    id.push_str("g_");
    for index in 0..26_usize {
        let bit = index * 5;
        let pair = u16::from_be_bytes([digest[bit / 8], digest[bit / 8 + 1]]);
        let five = (pair >> (11 - bit % 8)) & 31;
        id.push(char::from(
            b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(five)],
        ));
    }
    id.into()
}

/// At most 80 characters of what was sent, for a message to people.
fn shown(id: &str) -> String {
    id.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_alphabet_are_refused() {
        for good in ["alice", "A.b_c", "a:b@c+d=e~f-g.h", &"x".repeat(64)] {
            assert_eq!(check_id("user_id", good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\0b",
            "a b",
            "é",
            "a\nb",
            &"x".repeat(65),
        ] {
            assert!(check_id("user_id", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_group_cannot_take_the_name_of_a_direct_conversation() {
        assert!(check_group_id("conversation_id", "d_abc").is_err());
        assert_eq!(check_group_id("conversation_id", "D-abc"), Ok(()));
    }

    #[test]
    fn client_ids_of_services_are_refused() {
        assert!(check_client_id("flare:01J").is_err());
        assert!(check_client_id("").is_err());
        assert_eq!(check_client_id("01J8"), Ok(()));
    }

    #[test]
    fn titles_are_counted_in_characters() {
        assert_eq!(check_title(&"组".repeat(200), 200), Ok(()));
        assert_eq!(check_title("", 200), Ok(()));
        assert!(check_title(&"a".repeat(201), 200).is_err());
        assert!(check_title("a\u{7}b", 200).is_err());
    }

    #[test]
    fn a_made_group_id_is_the_same_for_a_retry_and_passes_as_an_id() {
        let id = group_id("default", "alice", "c1");
        assert_eq!(id, group_id("default", "alice", "c1"));
        assert_ne!(id, group_id("default", "alicec", "1"));
        assert_eq!(id.len(), 28);
        assert!(id.starts_with("g_"));
    }
}
