//! Messages to one who does not read.

use anyhow::{bail, ensure};
use flare_core::codec::ServerFrame;
use flare_proto::client::SyncHint;
use serde_json::{Value, json};

use crate::{case::Series, ground::Ground, http::Proof, link::Link, until::until};

/// Of each message.
const MESSAGE_BYTES: usize = 8_000;
/// More than the kernel's buffers and the server's queue hold, twice.
const MOST_MESSAGES: usize = 4_000;
const DELIVERED: Series = Series::new("flare_access_gateway_deliveries_total", "kind", "event");
const OVERFLOWS: Series = Series::new("flare_access_gateway_outbound_overflows_total", "", "");
const SLOW_READERS: Series =
    Series::new("flare_access_gateway_closes_total", "reason", "SLOW_READER");

/// Some users who write to one, by turns.
pub(crate) struct Flood<'a> {
    ground: &'a Ground,
    key: String,
    reader: &'static str,
    writers: usize,
    round: usize,
    sent: usize,
}

impl<'a> Flood<'a> {
    /// Has sent nothing yet. A round of so many messages is to be less than what may wait for a connection: so it overflows once at most.
    pub(crate) async fn of(
        ground: &'a Ground,
        reader: &'static str,
        writers: usize,
        round: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            ground,
            key: ground.key().await?,
            reader,
            writers,
            round,
            sent: 0,
        })
    }

    /// Sends until it was too much once.
    pub(crate) async fn overflows(&mut self) -> anyhow::Result<()> {
        self.until_rises(&OVERFLOWS).await
    }

    /// Sends until the reader is given up.
    pub(crate) async fn closes(&mut self) -> anyhow::Result<()> {
        self.until_rises(&SLOW_READERS).await
    }

    async fn until_rises(&mut self, series: &Series) -> anyhow::Result<()> {
        while self.ground.metric(series).await? < 1.0 {
            ensure!(self.sent < MOST_MESSAGES, "{series:?} does not rise");
            self.send().await?;
        }
        Ok(())
    }

    /// One round, delivered as far as the reader's connection takes it.
    async fn send(&mut self) -> anyhow::Result<()> {
        let messages: Vec<Value> = (self.sent..self.sent + self.round)
            .map(|number| {
                json!({
                    "userId": self.reader,
                    "senderId": format!("writer-{}", number % self.writers),
                    "clientId": format!("message-{number}"),
                    "content": {"text": {"text": "x".repeat(MESSAGE_BYTES)}},
                })
            })
            .collect();
        let sent = self
            .ground
            .post(
                Proof::Key(&self.key),
                "/messages:batch",
                &json!({"messages": messages}),
            )
            .await?
            .done()?;
        let outcomes = sent["outcomes"].as_array().map_or(0, |it| {
            it.iter().filter(|it| it["placed"].is_object()).count()
        });
        ensure!(
            outcomes == self.round,
            "{outcomes} of {} were placed: {sent}",
            self.round
        );
        self.sent += self.round;
        let all = self.sent as f64;
        until("the round is delivered, or its reader closed", async || {
            let delivered = self.ground.metric(&DELIVERED).await?;
            let closed = self.ground.metric(&SLOW_READERS).await?;
            Ok((delivered >= all || closed > 0.0).then_some(()))
        })
        .await
    }

    /// What the reader is told of it, when he reads again.
    pub(crate) async fn hint(&self, reader: &mut Link) -> anyhow::Result<SyncHint> {
        loop {
            match reader.next().await? {
                ServerFrame::SyncHint(hint) => return Ok(hint),
                ServerFrame::Deliver(_) => {}
                other => bail!("{other:?} came before a hint"),
            }
        }
    }
}
