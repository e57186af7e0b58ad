//! Makes, lists and revokes API keys.

use std::sync::Arc;

use flare_proto::{common::ErrorCode, ids};
use flare_server_core::{
    clock::{Clock, IdSource},
    error::Refusal,
};
use ulid::Ulid;

use super::ports::ApiKeyStore;
use crate::domain::{
    api_key::{ApiKey, MAX_NAME_CHARS, Secret, is_name},
    caller::shortened,
    scope::Scopes,
};

/// Good keys that a tenant may have.
pub const MAX_KEYS: usize = 1_000;
/// Keys of a page unless the caller says otherwise.
pub const DEFAULT_PAGE: u32 = 50;
/// Most keys of a page.
pub const MAX_PAGE: u32 = 200;

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// By rising id, so in the order in which they were made; revoked ones too.
    pub keys: Vec<ApiKey>,
    /// Asks for what follows; empty: nothing does.
    pub next_page_token: String,
}

/// The API keys of all tenants.
#[derive(Clone)]
pub struct ApiKeys {
    store: Arc<dyn ApiKeyStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
}

impl ApiKeys {
    /// Over a store.
    pub fn new(store: Arc<dyn ApiKeyStore>, clock: Arc<dyn Clock>, ids: Arc<IdSource>) -> Self {
        Self { store, clock, ids }
    }

    /// Makes a key. Its secret is in this answer and nowhere else.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a name, scope or tenant that is none; `LIMIT_EXCEEDED` with [`MAX_KEYS`] good ones; `UNAVAILABLE`.
    pub async fn create(
        &self,
        tenant: &str,
        name: &str,
        scopes: impl IntoIterator<Item = &str>,
    ) -> Result<(ApiKey, Secret), Refusal> {
        ids::check_tenant_id(tenant)
            .map_err(|error| Refusal::invalid("tenant_id", error.to_string()))?;
        if !is_name(name) {
            let message = format!(
                "{:?}: 1 to {MAX_NAME_CHARS} characters, no control characters",
                shortened(name)
            );
            return Err(Refusal::invalid("name", message));
        }
        let scopes =
            Scopes::parse(scopes).map_err(|error| Refusal::invalid("scopes", error.to_string()))?;
        if scopes.is_empty() {
            return Err(Refusal::invalid(
                "scopes",
                "a key without a scope may do nothing: name at least one",
            ));
        }
        let now_ms = self.clock.now_ms();
        let secret = Secret::of(&self.ids.random_bytes());
        let key = ApiKey {
            id: self.ids.ulid(now_ms),
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            scopes,
            created_ms: now_ms,
            revoked_ms: None,
        };
        if !self.store.add(&key, secret.digest(), MAX_KEYS).await? {
            let message = format!(
                "tenant {tenant} has {MAX_KEYS} good API keys, the most that it may: revoke one"
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message));
        }
        Ok((key, secret))
    }

    /// A page of a tenant's keys, revoked ones too.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a page size of 0 or above [`MAX_PAGE`]; `INVALID_PAGE_TOKEN`; `UNAVAILABLE`.
    pub async fn list(
        &self,
        tenant: &str,
        page_size: Option<u32>,
        page_token: &str,
    ) -> Result<Page, Refusal> {
        let size = page_size.unwrap_or(DEFAULT_PAGE);
        if !(1..=MAX_PAGE).contains(&size) {
            return Err(Refusal::invalid(
                "page_size",
                format!("{size}: 1 to {MAX_PAGE}, or absent"),
            ));
        }
        let after = match page_token {
            "" => None,
            token => Some(Ulid::from_string(token).map_err(|_| {
                let message = format!("{:?} is none of this list's page tokens", shortened(token));
                Refusal::new(ErrorCode::InvalidPageToken, message).with_field("page_token")
            })?),
        };
        let size = size as usize;
        let mut keys = self.store.list(tenant, after, size + 1).await?;
        let has_more = keys.len() > size;
        keys.truncate(size);
        let next_page_token = keys
            .last()
            .filter(|_| has_more)
            .map(|it| it.id.to_string())
            .unwrap_or_default();
        Ok(Page {
            keys,
            next_page_token,
        })
    }

    /// Makes a key worthless at once. Again: nothing changes.
    ///
    /// # Errors
    /// `NOT_FOUND` where the tenant has no such key; `UNAVAILABLE`.
    pub async fn revoke(&self, tenant: &str, key_id: &str) -> Result<(), Refusal> {
        let unknown = || {
            let message = format!("tenant {tenant} has no API key {:?}", shortened(key_id));
            Refusal::new(ErrorCode::NotFound, message).with_field("key_id")
        };
        let id = Ulid::from_string(key_id).map_err(|_| unknown())?;
        if !self.store.revoke(tenant, id, self.clock.now_ms()).await? {
            return Err(unknown());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use flare_server_core::clock::ManualClock;

    use super::*;
    use crate::{application::ports::ApiKeyStoreError, domain::api_key::SecretDigest};

    /// Has so many good keys, and forgets what is added.
    struct Counting(usize);

    #[async_trait]
    impl ApiKeyStore for Counting {
        async fn add(
            &self,
            _: &ApiKey,
            _: SecretDigest,
            most: usize,
        ) -> Result<bool, ApiKeyStoreError> {
            Ok(self.0 < most)
        }

        async fn find(&self, _: SecretDigest) -> Result<Option<ApiKey>, ApiKeyStoreError> {
            Ok(None)
        }

        async fn list(
            &self,
            _: &str,
            _: Option<Ulid>,
            _: usize,
        ) -> Result<Vec<ApiKey>, ApiKeyStoreError> {
            Err(ApiKeyStoreError {
                why: "broken".to_owned(),
            })
        }

        async fn revoke(&self, _: &str, _: Ulid, _: i64) -> Result<bool, ApiKeyStoreError> {
            Ok(false)
        }
    }

    fn keys(good: usize) -> ApiKeys {
        ApiKeys::new(
            Arc::new(Counting(good)),
            Arc::new(ManualClock::at(5_000)),
            Arc::new(IdSource::seeded(1)),
        )
    }

    #[tokio::test]
    async fn a_tenant_has_so_many_good_keys_and_no_more() {
        let (key, _) = keys(MAX_KEYS - 1)
            .create("default", "last", ["read"])
            .await
            .expect("one more");
        assert_eq!((key.created_ms, key.id.timestamp_ms()), (5_000, 5_000));
        let refusal = keys(MAX_KEYS)
            .create("default", "too many", ["read"])
            .await
            .expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::LimitExceeded);
    }

    #[tokio::test]
    async fn two_keys_have_two_secrets() {
        let keys = keys(0);
        let (first, one) = keys.create("default", "a", ["read"]).await.expect("made");
        let (second, other) = keys.create("default", "a", ["read"]).await.expect("made");
        assert!(one != other && first.id != second.id);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_to_be_asked_again() {
        let refusal = keys(0)
            .list("default", None, "")
            .await
            .expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::Unavailable);
        assert!(refusal.retry_after.is_some());
        assert!(
            !refusal.message.contains("broken"),
            "the caller need not know why: {refusal}"
        );
    }

    #[tokio::test]
    async fn a_tenant_that_is_none_is_refused() {
        let refusal = keys(0)
            .create("Default", "a", ["read"])
            .await
            .expect_err("refused");
        assert_eq!(
            (refusal.code, &*refusal.field),
            (ErrorCode::InvalidArgument, "tenant_id")
        );
    }
}
