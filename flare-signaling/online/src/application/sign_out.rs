//! Ends connections, and tokens with them.

use std::sync::Arc;

use flare_server_core::clock::Clock;

use super::{
    closing::Closing,
    ports::{CloseReason, PortError, PresenceStore, RevocationStore},
};
use crate::domain::{presence::Located, revocation::DeviceKey};

/// Revocation and kick.
pub struct SignOut {
    /// Presence.
    pub presence: Arc<dyn PresenceStore>,
    /// Dead tokens.
    pub revocations: Arc<dyn RevocationStore>,
    /// Whom to tell.
    pub closing: Closing,
    /// What "from now on" means.
    pub clock: Arc<dyn Clock>,
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Tokens issued up to this, in Unix seconds, are dead. Ahead of our clock if such a token has come.
    pub not_before_s: i64,
    /// Connections that were closed at once.
    pub closed: u32,
}

impl SignOut {
    /// Makes the tokens of a device, or of a whole user, dead for good; then closes what stands on them.
    pub async fn revoke(&self, device: &DeviceKey) -> Result<Revoked, PortError> {
        let now_s = self.clock.now_ms().div_euclid(1_000);
        let not_before_s = self.revocations.revoke(device, now_s).await?;
        let connections = self.connections(device).await?;
        let closed = self
            .closing
            .close(connections, CloseReason::Revoked, "signed out")
            .await;
        Ok(Revoked {
            not_before_s,
            closed,
        })
    }

    /// Closes a device's connection, or all of a user's; their tokens stay good.
    pub async fn kick(&self, device: &DeviceKey, message: &str) -> Result<u32, PortError> {
        let connections = self.connections(device).await?;
        Ok(self
            .closing
            .close(connections, CloseReason::Kicked, message)
            .await)
    }

    async fn connections(&self, device: &DeviceKey) -> Result<Vec<Located>, PortError> {
        let user = (device.tenant.clone(), device.user.clone());
        let found = self.presence.lookup(&[user]).await?;
        Ok(found
            .into_iter()
            .flatten()
            .filter(|it| device.device.is_empty() || it.device == device.device)
            .collect())
    }
}
