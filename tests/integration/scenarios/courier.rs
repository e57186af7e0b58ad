//! Somebody whom the server's end catches between a message and its retry.

use std::time::Duration;

use anyhow::ensure;

use crate::{raw::Raw, scene::Scene};

/// Writes to one user. He never trusts a receipt from before a crash.
pub(super) struct Courier {
    device: Raw,
    to: String,
    sent: u32,
    /// After a crash, to be sent again.
    refused_for: Duration,
}

impl Courier {
    /// Comes online.
    pub(super) async fn new(scene: &Scene, to: &str) -> anyhow::Result<Self> {
        Ok(Self {
            device: scene.raw("courier", "van").await?,
            to: to.to_owned(),
            sent: 0,
            refused_for: scene.server.kind().refuses_for(),
        })
    }

    /// Sends something and gets its receipt. He was silent for long: it is on a new connection.
    pub(super) async fn sends(&mut self) -> anyhow::Result<()> {
        self.sent += 1;
        self.device.reconnect().await?;
        self.puts(false, Duration::ZERO).await.map(drop)
    }

    /// Sends the same again after a crash: the server that follows knows it.
    pub(super) async fn sends_again(&mut self) -> anyhow::Result<()> {
        self.device.reconnect().await?;
        let is_known = self.puts(true, self.refused_for).await?;
        ensure!(is_known, "parcel {} was taken twice", self.sent);
        Ok(())
    }

    /// Whether the receipt is of an earlier one.
    async fn puts(&mut self, again: bool, refused_for: Duration) -> anyhow::Result<bool> {
        let (id, said) = (
            format!("parcel-{}", self.sent),
            format!("parcel {}", self.sent),
        );
        let ack = self
            .device
            .send_until_kept(&self.to, &id, &said, again, refused_for)
            .await?;
        Ok(ack.duplicate)
    }
}
