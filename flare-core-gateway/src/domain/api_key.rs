//! An API key: what is kept of it, and the secret that is not.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use super::scope::Scopes;

/// Begins every secret, so that scanners of source code recognise one.
pub const SECRET_PREFIX: &str = "flare_";
/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// Longest name of a key, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// What is kept of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Names the key in lists and logs; it opens nothing.
    pub id: Ulid,
    /// Whose conversations it reaches.
    pub tenant: String,
    /// What it is for, in its maker's words.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// When it became worthless, Unix milliseconds; None: it is good.
    pub revoked_ms: Option<i64>,
}

/// The SHA-256 of a secret's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SecretDigest(pub [u8; 32]);

/// What opens: shown once, kept nowhere. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret of some random bytes.
    pub fn of(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(format!(
            "{SECRET_PREFIX}{}",
            BASE64_URL_SAFE_NO_PAD.encode(bytes)
        ))
    }

    /// Takes what a caller presents; None: no secret looks like this.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.strip_prefix(SECRET_PREFIX)?)
            .ok()?;
        (bytes.len() == SECRET_BYTES).then(|| Self(text.to_owned()))
    }

    /// What is kept of it. No salt: the secret is as random as its digest.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The text, for the one who made it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Takes a key's name: 1 to 64 characters, none of them a control character.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_recognised_by_its_shape_and_not_shown_by_debug() {
        let secret = Secret::of(&[7; SECRET_BYTES]);
        assert_eq!(Secret::parse(secret.expose()), Some(secret.clone()));
        assert!(secret.expose().starts_with(SECRET_PREFIX));
        assert!(!format!("{secret:?}").contains(secret.expose()));
        let short = &secret.expose()[..40];
        for text in [
            "",
            "flare_",
            "flare_AAAA",
            short,
            &secret.expose().replace("flare_", "flame_"),
            "flare_ä",
        ] {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn different_secrets_have_different_digests() {
        assert_ne!(Secret::of(&[1; 32]).digest(), Secret::of(&[2; 32]).digest());
        assert_eq!(Secret::of(&[1; 32]).digest(), Secret::of(&[1; 32]).digest());
    }

    #[test]
    fn names_are_short_and_printable() {
        assert!(is_name("order service") && is_name("订单"));
        assert!(!is_name("") && !is_name("a\nb") && !is_name(&"x".repeat(65)));
    }
}
