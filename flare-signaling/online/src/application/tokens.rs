//! Tokens as they are used.

use std::sync::Arc;

use flare_server_core::clock::Clock;

use super::ports::{PortError, RevocationStore};
use crate::domain::revocation::DeviceKey;

/// Up to when tokens are dead; and notes of those whose issuer's clock runs ahead of ours, so that a revocation reaches them.
#[derive(Clone)]
pub struct Tokens {
    /// Dead tokens.
    pub revocations: Arc<dyn RevocationStore>,
    /// Whether a token's time of issue has come.
    pub clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Up to when the tokens of devices are dead, in their order and in Unix seconds; 0: none was revoked.
    pub async fn not_before(&self, devices: &[DeviceKey]) -> Result<Vec<i64>, PortError> {
        self.revocations.not_before(devices).await
    }

    /// Notes what was issued, in Unix seconds, ahead of our clock. Whoever reads afterwards whether such a token is dead finds the
    /// revocation that was written before this note; one that is written later reaches the token.
    pub async fn note_issued(&self, tokens: &[(DeviceKey, i64)]) -> Result<(), PortError> {
        let now_s = self.clock.now_ms().div_euclid(1_000);
        let ahead: Vec<_> = tokens
            .iter()
            .filter(|(_, issued_s)| *issued_s > now_s)
            .cloned()
            .collect();
        if ahead.is_empty() {
            return Ok(());
        }
        self.revocations.note_issued(&ahead, now_s).await
    }
}
