//! The token of the next connection, and the next token of this one.

use std::future::pending;

use super::Driver;
use crate::token::{TokenFuture, TokenSource};

/// A provider is asked for a new token so long before the old one expires, or a fifth of its life if that is less.
const REFRESH_AHEAD_MS: i64 = 60_000;
/// The pause before a provider is asked again that had no token.
const REFRESH_AGAIN_MS: u64 = 10_000;

/// How the next token comes in time.
pub(super) enum Renewal {
    None,
    At(u64),
    Asking(TokenFuture),
}

impl Driver {
    pub(super) fn next_token(&self) -> TokenFuture {
        match (&self.options.token, &self.token) {
            (TokenSource::Provider(provider), _) => {
                provider.token(self.reconnect.wants_new_token())
            }
            (_, Some(token)) | (TokenSource::Fixed(token), None) => {
                let token = token.clone();
                Box::pin(async move { Ok(token) })
            }
        }
    }

    /// Follows the expiry of the token that the connection stands on.
    pub(super) fn plan_renewal(&mut self, now_ms: u64) {
        let expires_ms = self.core.token_expires_ms();
        if expires_ms == self.expires_ms {
            return;
        }
        self.expires_ms = expires_ms;
        let has_provider = matches!(self.options.token, TokenSource::Provider(_));
        self.renewal = match (expires_ms, self.clock.server_ms(now_ms)) {
            (Some(expires_ms), Some(server_ms)) if has_provider && expires_ms > 0 => {
                let life_ms = expires_ms.saturating_sub(server_ms).max(0);
                let wait_ms = life_ms - REFRESH_AHEAD_MS.min(life_ms / 5);
                Renewal::At(now_ms.saturating_add(u64::try_from(wait_ms).unwrap_or_default()))
            }
            _ => Renewal::None,
        };
    }

    pub(super) fn ask_for_token(&mut self) {
        if let TokenSource::Provider(provider) = &self.options.token {
            self.renewal = Renewal::Asking(provider.token(true));
        }
    }

    pub(super) fn renewed(&mut self, token: Result<String, String>) {
        let now_ms = self.clock.now_ms();
        // Until the server has answered with the new expiry, another try is due later.
        self.renewal = Renewal::At(now_ms.saturating_add(REFRESH_AGAIN_MS));
        match token {
            Ok(token) => self.core.refresh(token, None, now_ms),
            Err(why) => tracing::warn!(%why, "no new token"),
        }
    }
}

/// The token that is asked for.
pub(super) async fn renewal(renewal: &mut Renewal) -> Result<String, String> {
    match renewal {
        Renewal::Asking(asking) => asking.await,
        Renewal::None | Renewal::At(_) => pending().await,
    }
}
