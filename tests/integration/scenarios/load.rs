//! People who write all the time.

mod silence;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use flare_core_sdk::{Client, Sending, Target};
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use self::silence::Silence;
use crate::person::SOON;

/// Messages of one writer without a receipt.
const WINDOW: usize = 8;

/// Writers at work. Each has the same share in it, so that none may stand still unnoticed.
pub(crate) struct Load {
    writers: JoinSet<anyhow::Result<u64>>,
    progress: Vec<watch::Receiver<u64>>,
    silences: Vec<Arc<Silence>>,
    stop: watch::Sender<bool>,
}

/// How somebody writes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Messages without a receipt.
    window: usize,
    /// From one message to the next; None: as fast as there are receipts.
    every: Option<Duration>,
}

impl Load {
    /// Nobody writes yet.
    pub(crate) fn new() -> Self {
        Self {
            writers: JoinSet::new(),
            progress: Vec::new(),
            silences: Vec::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// `client` writes to `target` from now on.
    pub(crate) fn add(&mut self, client: &Client, target: Target, name: &str) {
        self.add_with(client, target, name, WINDOW);
    }

    /// Likewise, with so many messages without a receipt.
    pub(crate) fn add_with(&mut self, client: &Client, target: Target, name: &str, window: usize) {
        let pace = Pace {
            window,
            every: None,
        };
        self.begin(client, target, name, pace);
    }

    /// Likewise, a message every so often: how much is written is a matter of time, not of the machine.
    pub(crate) fn add_paced(
        &mut self,
        client: &Client,
        target: Target,
        name: &str,
        every: Duration,
    ) {
        let pace = Pace {
            window: WINDOW,
            every: Some(every),
        };
        self.begin(client, target, name, pace);
    }

    fn begin(&mut self, client: &Client, target: Target, name: &str, pace: Pace) {
        let (acked, progress) = watch::channel(0);
        let silence = Arc::new(Silence::new());
        self.progress.push(progress);
        self.silences.push(Arc::clone(&silence));
        let writer = Writer {
            client: client.clone(),
            target,
            name: name.to_owned(),
            pace,
            acked,
            silence,
        };
        self.writers.spawn(writer.writes(self.stop.subscribe()));
    }

    /// Waits until each writer has got so many more receipts.
    pub(crate) async fn goes_on(&mut self, more: u64) -> anyhow::Result<()> {
        let goals: Vec<u64> = self.receipts().iter().map(|it| it + more).collect();
        for (progress, goal) in self.progress.iter_mut().zip(goals) {
            let waited = timeout(SOON, progress.wait_for(|it| *it >= goal)).await;
            waited.with_context(|| {
                format!("a writer stands still, {goal} receipts were waited for")
            })??;
        }
        Ok(())
    }

    /// How many receipts each writer has.
    pub(crate) fn receipts(&self) -> Vec<u64> {
        self.progress.iter().map(|it| *it.borrow()).collect()
    }

    /// Forgets how long anybody has waited so far.
    pub(crate) fn mark(&self) {
        for silence in &self.silences {
            silence.mark();
        }
    }

    /// The longest time since the mark in which some writer had no receipt.
    pub(crate) fn longest_silence(&self) -> Duration {
        let longest = self.silences.iter().map(|it| it.longest());
        longest.max().unwrap_or_default()
    }

    /// Ends it, when all have their receipts. Gives how many there were.
    pub(crate) async fn ends(mut self) -> anyhow::Result<u64> {
        self.stop.send_replace(true);
        let mut acked = 0;
        while let Some(ended) = self.writers.join_next().await {
            acked += ended??;
        }
        Ok(acked)
    }
}

/// Who writes, to whom and how.
struct Writer {
    client: Client,
    target: Target,
    name: String,
    pace: Pace,
    acked: watch::Sender<u64>,
    silence: Arc<Silence>,
}

impl Writer {
    async fn writes(self, mut stop: watch::Receiver<bool>) -> anyhow::Result<u64> {
        let mut turns = self.pace.every.map(|it| {
            let mut turns = interval(it);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            turns
        });
        let mut open: FuturesOrdered<Sending> = FuturesOrdered::new();
        let (mut said, mut count, mut ends) = (0_u64, 0, false);
        while !ends || !open.is_empty() {
            let turn = async {
                if let Some(turns) = &mut turns {
                    turns.tick().await;
                }
            };
            tokio::select! {
                biased;
                _ = stop.wait_for(|it| *it), if !ends => ends = true,
                () = turn, if !ends && open.len() < self.pace.window => {
                    let text = format!("{} {said}", self.name);
                    open.push_back(self.client.send_text(self.target.clone(), text));
                    said += 1;
                }
                Some(sent) = open.next(), if !open.is_empty() => {
                    sent.with_context(|| format!("after {count} receipts of {}", self.name))?;
                    count += 1;
                    self.silence.ends();
                    self.acked.send_replace(count);
                }
            }
        }
        Ok(count)
    }
}
