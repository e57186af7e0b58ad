//! People who write all the time.

use std::collections::VecDeque;

use anyhow::Context;
use flare_core_sdk::{Client, Sending, Target};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::person::SOON;

/// Messages of one writer without a receipt.
const WINDOW: usize = 8;

/// Writers at work. Each has the same share in it, so that none may stand still unnoticed.
pub(crate) struct Load {
    writers: JoinSet<anyhow::Result<u64>>,
    progress: Vec<watch::Receiver<u64>>,
    stop: watch::Sender<bool>,
}

impl Load {
    /// Nobody writes yet.
    pub(crate) fn new() -> Self {
        Self {
            writers: JoinSet::new(),
            progress: Vec::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// `client` writes to `target` from now on.
    pub(crate) fn add(&mut self, client: &Client, target: Target, name: &str) {
        self.add_with(client, target, name, WINDOW);
    }

    /// Likewise, with so many messages without a receipt.
    pub(crate) fn add_with(&mut self, client: &Client, target: Target, name: &str, window: usize) {
        let (acked, progress) = watch::channel(0);
        self.progress.push(progress);
        self.writers.spawn(write(
            client.clone(),
            target,
            name.to_owned(),
            window,
            acked,
            self.stop.subscribe(),
        ));
    }

    /// Waits until each writer has got so many more receipts.
    pub(crate) async fn goes_on(&mut self, more: u64) -> anyhow::Result<()> {
        for progress in &mut self.progress {
            let goal = *progress.borrow() + more;
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

async fn write(
    client: Client,
    target: Target,
    name: String,
    window: usize,
    acked: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    let mut open: VecDeque<Sending> = VecDeque::new();
    let mut count = 0;
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        open.push_back(client.send_text(target.clone(), format!("{name} {number}")));
        if open.len() < window {
            continue;
        }
        if let Some(sending) = open.pop_front() {
            sending.await?;
            count += 1;
            acked.send_replace(count);
        }
    }
    for sending in open {
        sending.await?;
        count += 1;
    }
    Ok(count)
}
