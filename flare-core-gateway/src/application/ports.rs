//! What the service needs from outside.

use async_trait::async_trait;
use flare_server_core::error::Refusal;
use ulid::Ulid;

use crate::domain::api_key::{ApiKey, SecretDigest};

/// The store did not do it; it may later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the API key store is unavailable: {why}")]
pub struct ApiKeyStoreError {
    /// What it said.
    pub why: String,
}

/// API keys, several processes at once.
///
/// Obligations:
/// - **Durable.** When `add` or `revoke` returns, it survives a loss of power.
/// - **Seen at once.** What `add` or `revoke` has returned for, in any process, is in every answer that begins later.
/// - **One key a secret.** No two keys have the same digest; adding a second is an error.
/// - **No more than wanted.** However many processes add at once, a tenant never has more good keys than each of them allowed.
/// - **Only worthless once.** A second revocation changes nothing: the first time stands.
/// - **Tenants.** Keys are listed, bounded and revoked under their own tenant alone.
/// - **Whole pages.** `list` gives keys by rising id, each once, however many are added meanwhile.
#[async_trait]
pub trait ApiKeyStore: Send + Sync + 'static {
    /// Keeps a key with the digest of its secret, if the tenant has fewer than `most` good ones. False: it has as many, and nothing is kept.
    async fn add(
        &self,
        key: &ApiKey,
        digest: SecretDigest,
        most: usize,
    ) -> Result<bool, ApiKeyStoreError>;
    /// The key with this digest, revoked ones too; None: there is none.
    async fn find(&self, digest: SecretDigest) -> Result<Option<ApiKey>, ApiKeyStoreError>;
    /// At most `limit` keys of the tenant with ids above `after`, revoked ones too.
    async fn list(
        &self,
        tenant: &str,
        after: Option<Ulid>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, ApiKeyStoreError>;
    /// Makes a key worthless from `now_ms` on. False: the tenant has no such key.
    async fn revoke(&self, tenant: &str, id: Ulid, now_ms: i64) -> Result<bool, ApiKeyStoreError>;
}

/// Which tokens are dead.
#[async_trait]
pub trait Revocations: Send + Sync + 'static {
    /// Up to when the tokens of a user's device (empty: of any) are dead, in Unix seconds; 0: none was revoked. `issued_s` is of the
    /// one that was shown: if it is from ahead of the clock, a later revocation reaches it all the same.
    ///
    /// # Errors
    /// `UNAVAILABLE`, with a time to retry.
    async fn not_before_s(
        &self,
        tenant: &str,
        user: &str,
        device: &str,
        issued_s: i64,
    ) -> Result<i64, Refusal>;
}
