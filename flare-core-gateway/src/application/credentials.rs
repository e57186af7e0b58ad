//! From what a request presents to who asks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use flare_proto::{common::ErrorCode, ids};
use flare_server_core::{
    clock::Clock,
    error::Refusal,
    identity::{TokenValidator, is_dead},
};

use super::ports::{ApiKeyStore, ApiKeyStoreError, Revocations};
use crate::domain::{
    api_key::Secret,
    caller::{ACTING_USER_HEADER, Actor, Caller, Proof},
};

/// The header of a user's token.
pub const TOKEN_HEADER: &str = "authorization";
/// The header of an API key's secret.
pub const API_KEY_HEADER: &str = "x-api-key";

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The headers of a request that say who asks; empty: not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'a> {
    /// `authorization`.
    pub authorization: &'a str,
    /// `x-api-key`.
    pub api_key: &'a str,
    /// `x-flare-user`.
    pub acting_user: &'a str,
}

/// Tells callers by tokens and API keys.
pub struct Credentials {
    /// Checks tokens.
    pub validator: Arc<dyn TokenValidator>,
    /// Which of them are dead.
    pub revocations: Arc<dyn Revocations>,
    /// API keys.
    pub keys: Arc<dyn ApiKeyStore>,
    /// The tenants that this deployment has.
    pub tenants: BTreeSet<String>,
    /// What "expired" means.
    pub clock: Arc<dyn Clock>,
}

impl Credentials {
    /// Who asks.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `TOKEN_EXPIRED`, `TOKEN_REVOKED`, `TENANT_MISMATCH`; `INVALID_ARGUMENT` for a user that is no user id;
    /// `PERMISSION_DENIED` for a token that would act for another user; `UNAVAILABLE` where it cannot be told just now.
    pub async fn identify(&self, presented: Presented<'_>) -> Result<Caller, Refusal> {
        match (presented.authorization, presented.api_key) {
            ("", "") => Err(unauthenticated(
                "",
                "who asks? send authorization: Bearer <token>, or x-api-key",
            )),
            ("", secret) => self.by_key(secret, presented.acting_user).await,
            (authorization, "") => self.by_token(authorization, presented.acting_user).await,
            _ => Err(unauthenticated(
                API_KEY_HEADER,
                "a token and an API key exclude each other: send one",
            )),
        }
    }

    async fn by_token(&self, authorization: &str, acting_user: &str) -> Result<Caller, Refusal> {
        let token = authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| !token.is_empty())
            .ok_or_else(|| unauthenticated(TOKEN_HEADER, "want authorization: Bearer <token>"))?;
        let claims = self.validator.validate(token, self.clock.now_ms()).await?;
        let device = claims.device.as_deref().unwrap_or_default();
        let not_before_s = self
            .revocations
            .not_before_s(&claims.tenant, &claims.user, device, claims.issued_s)
            .await?;
        if is_dead(claims.issued_s, not_before_s) {
            let refusal = Refusal::new(
                ErrorCode::TokenRevoked,
                "the token was revoked: sign in again",
            );
            return Err(refusal.with_field("token"));
        }
        if !acting_user.is_empty() && acting_user != claims.user {
            return Err(Refusal::new(
                ErrorCode::PermissionDenied,
                "a token acts for its own user alone",
            )
            .with_field(ACTING_USER_HEADER));
        }
        let actor = Actor::User {
            user: claims.user,
            device: claims.device,
        };
        Ok(Caller {
            tenant: claims.tenant,
            actor,
            proof: Proof::Token,
        })
    }

    async fn by_key(&self, secret: &str, acting_user: &str) -> Result<Caller, Refusal> {
        let unknown = || unauthenticated(API_KEY_HEADER, "no such API key, or it was revoked");
        let secret = Secret::parse(secret).ok_or_else(unknown)?;
        let found = self.keys.find(secret.digest()).await?;
        let key = found
            .filter(|it| it.revoked_ms.is_none())
            .ok_or_else(unknown)?;
        if !self.tenants.contains(&key.tenant) {
            let message = format!("the API key's tenant {} is not configured here", key.tenant);
            return Err(Refusal::new(ErrorCode::TenantMismatch, message).with_field(API_KEY_HEADER));
        }
        let actor = if acting_user.is_empty() {
            Actor::System
        } else {
            ids::check_user_id(acting_user)
                .map_err(|error| Refusal::invalid(ACTING_USER_HEADER, error.to_string()))?;
            Actor::ForUser {
                user: acting_user.to_owned(),
            }
        };
        Ok(Caller {
            tenant: key.tenant,
            actor,
            proof: Proof::ApiKey {
                id: key.id,
                scopes: key.scopes,
            },
        })
    }
}

fn unauthenticated(field: &'static str, message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, message).with_field(field)
}

impl From<ApiKeyStoreError> for Refusal {
    fn from(error: ApiKeyStoreError) -> Self {
        tracing::error!(%error, "API keys cannot be read");
        Self::unavailable("API keys cannot be looked up just now", RETRY_AFTER)
    }
}
