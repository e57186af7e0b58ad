//! Two who talk quietly, and look at the clock.

use std::{future::Future, pin::pin, time::Duration};

use anyhow::ensure;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{person::Person, scene::Scene};

/// So often something is said.
const EVERY: Duration = Duration::from_millis(20);

/// So many words tell how quick it is.
const ENOUGH: usize = 10;

/// One who speaks, and one who listens.
pub(super) struct Pair {
    speaker: Person,
    listener: Person,
    said: u64,
}

/// How long it took.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// From the send to the receipt.
    acks: Vec<Duration>,
    /// From the send to the listener.
    deliveries: Vec<Duration>,
}

/// The same in figures.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) count: usize,
    pub(super) ack_p50_ms: f64,
    pub(super) ack_p99_ms: f64,
    pub(super) delivery_p50_ms: f64,
    pub(super) delivery_p99_ms: f64,
    pub(super) longest_ms: f64,
}

impl Pair {
    /// Both come online; one pair of this name.
    pub(super) async fn arrive(scene: &Scene, name: &str) -> anyhow::Result<Self> {
        let speaker = scene.arrives(&format!("{name}-speaks"), "phone").await?;
        let listener = scene.arrives(&format!("{name}-listens"), "phone").await?;
        let mut pair = Self {
            speaker,
            listener,
            said: 0,
        };
        pair.says(&mut Times::default()).await?;
        Ok(pair)
    }

    /// Talks for as long as something else lasts, and until enough was said.
    pub(super) async fn during<T>(
        &mut self,
        what: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Times, T)> {
        let mut times = Times::default();
        let mut what = pin!(what);
        let mut turns = interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = None;
        loop {
            if let Some(done) = done.take_if(|_| times.acks.len() >= ENOUGH) {
                return Ok((times, done));
            }
            let mut next = pin!(async {
                turns.tick().await;
                self.says(&mut times).await
            });
            // A word that is on its way is waited for: it may be the one that took long.
            loop {
                tokio::select! {
                    it = &mut what, if done.is_none() => done = Some(it?),
                    said = &mut next => break said?,
                }
            }
        }
    }

    /// Says so much, with nothing else to wait for.
    pub(super) async fn talks(&mut self, words: usize) -> anyhow::Result<Times> {
        let mut times = Times::default();
        let mut turns = interval(EVERY);
        for _ in 0..words {
            turns.tick().await;
            self.says(&mut times).await?;
        }
        Ok(times)
    }

    async fn says(&mut self, times: &mut Times) -> anyhow::Result<()> {
        self.said += 1;
        let words = format!("word {}", self.said);
        let begun = Instant::now();
        let sent = self.speaker.tell(self.listener.user(), &words).await?;
        let acked = begun.elapsed();
        self.listener
            .reads_to(&sent.conversation_id, sent.seq)
            .await?;
        times.acks.push(acked);
        times.deliveries.push(begun.elapsed());
        Ok(())
    }

    /// How much was said.
    pub(super) fn said(&self) -> u64 {
        self.said
    }

    /// Both, for the end.
    pub(super) fn people(self) -> [Person; 2] {
        [self.speaker, self.listener]
    }
}

impl Times {
    /// From a send to its receipt, at the most.
    pub(super) fn slowest_ack(&self) -> Duration {
        self.acks.iter().copied().max().unwrap_or_default()
    }

    /// From a send to the listener, at the most.
    pub(super) fn slowest_delivery(&self) -> Duration {
        self.deliveries.iter().copied().max().unwrap_or_default()
    }

    /// The slowest, in words.
    pub(super) fn in_words(&self) -> String {
        format!(
            "of {} words of a quiet pair the slowest was acked after {:.1} s and heard after {:.1} s",
            self.acks.len(),
            self.slowest_ack().as_secs_f64(),
            self.slowest_delivery().as_secs_f64()
        )
    }

    /// In figures.
    pub(super) fn figures(&self) -> anyhow::Result<Figures> {
        ensure!(!self.acks.is_empty(), "nothing was said");
        let longest = share(&self.deliveries, 1.0).max(share(&self.acks, 1.0));
        Ok(Figures {
            count: self.acks.len(),
            ack_p50_ms: share(&self.acks, 0.5),
            ack_p99_ms: share(&self.acks, 0.99),
            delivery_p50_ms: share(&self.deliveries, 0.5),
            delivery_p99_ms: share(&self.deliveries, 0.99),
            longest_ms: longest,
        })
    }
}

impl Figures {
    /// Demands that 99 of 100 were as quick as that, of enough to tell.
    pub(super) fn demand(&self, p99: Duration) -> anyhow::Result<()> {
        let bound_ms = p99.as_secs_f64() * 1_000.0;
        ensure!(self.count >= ENOUGH, "{} words tell nothing", self.count);
        ensure!(
            self.ack_p99_ms <= bound_ms && self.delivery_p99_ms <= bound_ms,
            "the quiet pair waits for longer than {bound_ms} ms: {self:?}"
        );
        Ok(())
    }
}

/// The time within which this share lies, in milliseconds.
pub(super) fn share(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (share * sorted.len() as f64).ceil() as usize;
    let at = at.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).map_or(0.0, |it| it.as_secs_f64() * 1_000.0)
}
