//! Which identifiers the contract takes: the same rule at every edge and in every service.

use std::fmt;

/// Longest tenant id, in bytes.
pub const MAX_TENANT_ID_BYTES: usize = 32;
/// Longest user, device, group, conversation or client id, in bytes.
pub const MAX_ID_BYTES: usize = 64;
/// Begins the id of every direct conversation, and of no group.
pub const DIRECT_PREFIX: &str = "d_";
/// Begins the client ids of commands that services make; no client may use it.
pub const SERVICE_CLIENT_ID_PREFIX: &str = "flare:";
/// Characters of a direct conversation's id after its prefix: lower-case base32 (RFC 4648: a-z, 2-7).
const DIRECT_SUFFIX_CHARS: usize = 26;
/// How much of a refused id is repeated in the message.
const SHOWN_CHARS: usize = 80;

/// An identifier that the contract does not take. Its `Display` is a message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdError {
    /// What it should have been: "user id", "tenant id", …
    pub what: &'static str,
    /// The value that was refused, shortened if it is long.
    pub value: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.what, self.value, self.why)
    }
}

impl std::error::Error for IdError {}

/// Takes `[a-z0-9-]{1,32}`.
///
/// # Errors
/// Names the value and the rule.
pub fn check_tenant_id(id: &str) -> Result<(), IdError> {
    let fits = (1..=MAX_TENANT_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits {
        Ok(())
    } else {
        refuse("tenant id", id, "only [a-z0-9-], 1 to 32 of them")
    }
}

/// Takes `[A-Za-z0-9._:@+=~-]{1,64}` but `.` and `..`.
///
/// # Errors
/// Names the value and the rule.
pub fn check_user_id(id: &str) -> Result<(), IdError> {
    check("user id", id)
}

/// Takes what [`check_user_id`] takes.
///
/// # Errors
/// Names the value and the rule.
pub fn check_device_id(id: &str) -> Result<(), IdError> {
    check("device id", id)
}

/// Takes what [`check_user_id`] takes, unless it begins with `d_`.
///
/// # Errors
/// Names the value and the rule.
pub fn check_group_id(id: &str) -> Result<(), IdError> {
    check("group id", id)?;
    if id.starts_with(DIRECT_PREFIX) {
        return refuse("group id", id, "d_ begins the ids of direct conversations");
    }
    Ok(())
}

/// Takes a group's id, or a direct conversation's: `d_` and 26 characters of lower-case base32.
///
/// # Errors
/// Names the value and the rule.
pub fn check_conversation_id(id: &str) -> Result<(), IdError> {
    let Some(suffix) = id.strip_prefix(DIRECT_PREFIX) else {
        return check("conversation id", id);
    };
    let fits = suffix.len() == DIRECT_SUFFIX_CHARS
        && suffix
            .bytes()
            .all(|it| matches!(it, b'a'..=b'z' | b'2'..=b'7'));
    if fits {
        Ok(())
    } else {
        refuse(
            "conversation id",
            id,
            "a direct conversation's is d_ and 26 of [a-z2-7]",
        )
    }
}

/// Whether a conversation's id is that of a direct one.
pub fn is_direct(conversation_id: &str) -> bool {
    conversation_id.starts_with(DIRECT_PREFIX)
}

/// Takes what [`check_user_id`] takes, unless it begins with `flare:`, which services keep for their own commands.
///
/// # Errors
/// Names the value and the rule.
pub fn check_client_id(id: &str) -> Result<(), IdError> {
    check("client id", id)?;
    if id.starts_with(SERVICE_CLIENT_ID_PREFIX) {
        return refuse(
            "client id",
            id,
            "flare: begins the ids of the services' own commands",
        );
    }
    Ok(())
}

fn check(what: &'static str, id: &str) -> Result<(), IdError> {
    let fits = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(is_id_byte);
    if !fits {
        return refuse(what, id, "only [A-Za-z0-9._:@+=~-], 1 to 64 of them");
    }
    if id == "." || id == ".." {
        return refuse(what, id, "neither . nor ..");
    }
    Ok(())
}

const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'_' | b':' | b'@' | b'+' | b'=' | b'~' | b'-')
}

fn refuse(what: &'static str, id: &str, why: &'static str) -> Result<(), IdError> {
    Err(IdError {
        what,
        value: id.chars().take(SHOWN_CHARS).collect(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_by_their_characters_and_length() {
        for good in ["a", "alice", "A.b_c:d@e+f=g~h-1", "...", &"x".repeat(64)] {
            assert_eq!(check_user_id(good), Ok(()), "{good}");
            assert_eq!(check_device_id(good), Ok(()), "{good}");
            assert_eq!(check_client_id(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a\0",
            "a\nb",
            "ä",
            "a%2e",
            &"x".repeat(65),
        ] {
            assert!(check_user_id(bad).is_err(), "{bad:?}");
            assert!(check_group_id(bad).is_err(), "{bad:?}");
            assert!(check_conversation_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_the_rule() {
        let error = check_user_id("a/b").expect_err("refused");
        assert_eq!(
            error.to_string(),
            r#"user id "a/b": only [A-Za-z0-9._:@+=~-], 1 to 64 of them"#
        );
        let long = check_user_id(&"y".repeat(100_000)).expect_err("refused");
        assert!(long.to_string().len() < 200);
    }

    #[test]
    fn groups_do_not_take_direct_ids_and_conversations_take_both() {
        let direct = format!("d_{}", "a2".repeat(13));
        assert!(check_group_id(&direct).is_err());
        assert_eq!(check_conversation_id(&direct), Ok(()));
        assert_eq!(check_conversation_id("team"), Ok(()));
        assert!(is_direct(&direct) && !is_direct("team"));
        for bad in [
            "d_",
            "d_short",
            &format!("d_{}", "A2".repeat(13)),
            &format!("d_{}", "a1".repeat(13)),
        ] {
            assert!(check_conversation_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn client_ids_of_services_are_closed_to_clients() {
        assert!(check_client_id("flare:outbox:7").is_err());
        assert_eq!(check_client_id("flare"), Ok(()));
    }

    #[test]
    fn tenant_ids_are_short_and_lower_case() {
        for good in ["default", "a", "t-1", &"z".repeat(32)] {
            assert_eq!(check_tenant_id(good), Ok(()), "{good}");
        }
        for bad in ["", "Default", "a_b", "a.b", &"z".repeat(33)] {
            assert!(check_tenant_id(bad).is_err(), "{bad}");
        }
    }
}
