//! The port that turns a token into an identity.

use std::fmt;

use async_trait::async_trait;
use flare_proto::common::ErrorCode;

use crate::error::Refusal;

/// A longer token is refused unread.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The tenant of a token that names none.
pub const DEFAULT_TENANT: &str = "default";
/// A token may be issued this far ahead of our clock, in seconds: issuers' clocks run fast now and then. It is also about how far ahead of
/// our clock a revocation may have to reach, so as to end such a token once it has come (see flare-signaling-online).
pub const MAX_ISSUED_AHEAD_S: i64 = 60;

/// A token may be good for so long after its issue, in seconds: 366 days. Who revoked it is remembered as long, and no longer.
pub const MAX_LIFE_S: i64 = 366 * 86_400;

/// Turns a token into an identity, or says why it does not.
///
/// An implementation owes, and the contract suite checks:
/// - the claims are those that the token's issuer signed or vouches for; nothing that is not authenticated is returned or acted on
/// - a token without a tenant is of [`DEFAULT_TENANT`]; one of a tenant that is not configured is refused
/// - the tenant, user and device are ids that the contract takes
/// - a token without user, expiry or time of issue is refused
/// - an expired token is refused, at the latest some seconds after its expiry; one issued more than [`MAX_ISSUED_AHEAD_S`] ahead of
///   `now_ms` is refused: it could not be revoked by time
/// - one that is good for longer than [`MAX_LIFE_S`] after its issue is refused: its revocation would be forgotten before it expires
/// - a token longer than [`MAX_TOKEN_BYTES`] is refused before it is parsed
/// - any text at all gives claims or an error
///
/// Whether a token was revoked is not decided here: see [`is_dead`].
#[async_trait]
pub trait TokenValidator: Send + Sync + 'static {
    /// The identity that `token` proves at the time `now_ms`, in Unix milliseconds.
    async fn validate(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError>;
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The tenant (`tid`).
    pub tenant: String,
    /// The user (`sub`).
    pub user: String,
    /// The only device that may use the token (`did`); None: any of the user's.
    pub device: Option<String>,
    /// When it expires (`exp`), in Unix seconds.
    pub expires_s: i64,
    /// When it was issued (`iat`), in Unix seconds.
    pub issued_s: i64,
}

impl Claims {
    /// Whether `device` may use the token.
    pub fn check_device(&self, device: &str) -> Result<(), TokenError> {
        match &self.device {
            Some(bound) if bound != device => Err(TokenError::OtherDevice {
                bound: bound.clone(),
                given: device.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the token is of `tenant`.
    pub fn check_tenant(&self, tenant: &str) -> Result<(), TokenError> {
        if self.tenant == tenant {
            return Ok(());
        }
        Err(TokenError::OtherTenant {
            bound: self.tenant.clone(),
            given: tenant.to_owned(),
        })
    }
}

/// Whether a token issued at `issued_s` died with a revocation at `not_before_s`, both in whole Unix seconds. One issued in the very
/// second of the revocation is dead.
pub fn is_dead(issued_s: i64, not_before_s: i64) -> bool {
    issued_s <= not_before_s
}

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("token of {0} bytes: at most {MAX_TOKEN_BYTES} are taken")]
    TooLong(usize),
    /// Not a token of the kind that is taken.
    #[error("not a token: {0}")]
    Malformed(String),
    /// Signed with a key that is not configured, or with an algorithm that its key is not for.
    #[error("token signed by {algorithm} with {}: no such key is configured", named(.key_id.as_deref()))]
    UnknownKey {
        /// As the token names it.
        key_id: Option<String>,
        /// As the token names it.
        algorithm: String,
    },
    /// The signature is not the key's.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// A claim is not there.
    #[error("the token has no claim {0}")]
    MissingClaim(&'static str),
    /// A claim has a value that is not taken.
    #[error("the token's claim {claim}: {reason}")]
    BadClaim {
        /// The claim.
        claim: &'static str,
        /// The value and the rule that it breaks.
        reason: String,
    },
    /// Past its expiry.
    #[error("token expired at {expires_s}: the server's clock shows {}", .now_ms / 1_000)]
    Expired {
        /// In Unix seconds.
        expires_s: i64,
        /// In Unix milliseconds.
        now_ms: i64,
    },
    /// Issued, or valid, only later.
    #[error("token not valid before {from_s}: the server's clock shows {}", .now_ms / 1_000)]
    NotYetValid {
        /// In Unix seconds.
        from_s: i64,
        /// In Unix milliseconds.
        now_ms: i64,
    },
    /// Of a tenant that is not configured.
    #[error("the token's tenant {0} is not configured here")]
    UnknownTenant(String),
    /// Used for another tenant than its own.
    #[error("the token is of tenant {bound}, not {given}")]
    OtherTenant {
        /// The token's.
        bound: String,
        /// The caller's.
        given: String,
    },
    /// Used by another device than its own.
    #[error("the token is for device {bound}, not {given}")]
    OtherDevice {
        /// The token's.
        bound: String,
        /// The caller's.
        given: String,
    },
}

fn named(key_id: Option<&str>) -> impl fmt::Display {
    key_id.map_or_else(
        || "a key without an id".to_owned(),
        |it| format!("key {it:?}"),
    )
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        let (code, field) = match error {
            TokenError::Expired { .. } => (ErrorCode::TokenExpired, "token"),
            TokenError::UnknownTenant(_) | TokenError::OtherTenant { .. } => {
                (ErrorCode::TenantMismatch, "token")
            }
            TokenError::OtherDevice { .. } => (ErrorCode::DeviceMismatch, "device_id"),
            _ => (ErrorCode::Unauthenticated, "token"),
        };
        let refusal = Refusal::new(code, error.to_string()).with_field(field);
        match error {
            TokenError::Expired { now_ms, .. } | TokenError::NotYetValid { now_ms, .. } => {
                refusal.with_server_time(now_ms)
            }
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            tenant: "acme".to_owned(),
            user: "alice".to_owned(),
            device: Some("phone".to_owned()),
            expires_s: 2_000,
            issued_s: 1_000,
        }
    }

    #[test]
    fn a_bound_token_is_for_its_device_alone() {
        assert_eq!(claims().check_device("phone"), Ok(()));
        assert_eq!(
            Claims {
                device: None,
                ..claims()
            }
            .check_device("laptop"),
            Ok(())
        );
        let refusal = Refusal::from(claims().check_device("laptop").unwrap_err());
        assert_eq!(
            (refusal.code, &*refusal.field),
            (ErrorCode::DeviceMismatch, "device_id")
        );
    }

    #[test]
    fn a_token_is_for_its_tenant_alone() {
        assert_eq!(claims().check_tenant("acme"), Ok(()));
        assert_eq!(
            Refusal::from(claims().check_tenant("other").unwrap_err()).code,
            ErrorCode::TenantMismatch
        );
    }

    #[test]
    fn a_token_dies_with_a_revocation_in_its_second_or_later() {
        assert!(is_dead(1_000, 1_000));
        assert!(is_dead(1_000, 1_001));
        assert!(!is_dead(1_001, 1_000));
    }

    #[test]
    fn a_refusal_over_time_says_what_the_server_s_clock_shows() {
        let refusal = Refusal::from(TokenError::Expired {
            expires_s: 5,
            now_ms: 12_345,
        });
        assert_eq!(
            (refusal.code, refusal.server_time_ms),
            (ErrorCode::TokenExpired, Some(12_345))
        );
        assert!(
            refusal.message.contains("the server's clock shows 12"),
            "{}",
            refusal.message
        );
    }
}
