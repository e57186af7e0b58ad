//! Streams of commands: each command goes to the owner of its conversation's partition, and the receipts come back on one channel.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flare_server_core::error::Refusal;
use flare_storage_model::partition_of;
use tokio::sync::mpsc;

use super::rate_limits::RateLimits;
use crate::domain::command::{Command, Placement};

/// What a stream gets back.
#[derive(Debug)]
pub enum Answer {
    /// Receipts, in the order of decisions.
    Receipts(Vec<Receipt>),
    /// The stream cannot go on: its order would be lost. What was not answered is unknown.
    Ended(Refusal),
}

/// The answer to one command.
#[derive(Debug)]
pub struct Receipt {
    /// As the caller chose it.
    pub correlation: u64,
    /// Its place, or why it has none.
    pub result: Result<Placement, Refusal>,
    /// Beside NOT_OWNER: where the owner answers, as far as it is known.
    pub owner: Option<Arc<str>>,
}

/// What a partition's task gets.
#[derive(Debug)]
pub enum Delivery {
    /// Commands of a stream, in its order.
    Commands {
        /// Where their answers go.
        answers: mpsc::Sender<Answer>,
        /// At least one, all of one stream.
        commands: Vec<Command>,
    },
    /// The stream has ended.
    End(u64),
}

/// The way to the partitions.
pub struct Streams {
    partitions: Vec<mpsc::Sender<Delivery>>,
    last: AtomicU64,
    limits: Arc<RateLimits>,
    max_items: usize,
}

/// One stream of commands. Its lanes end with it.
pub struct CommandStream {
    streams: Arc<Streams>,
    id: u64,
    answers: mpsc::Sender<Answer>,
    /// The partitions that know it.
    known_to: Mutex<BTreeSet<u32>>,
}

impl Streams {
    /// Leads to these partitions. A stream has at most `max_items` commands unanswered.
    pub fn new(
        partitions: Vec<mpsc::Sender<Delivery>>,
        limits: Arc<RateLimits>,
        max_items: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions,
            last: AtomicU64::new(0),
            limits,
            max_items,
        })
    }

    /// How many commands of a stream may be unanswered.
    pub fn max_items(&self) -> usize {
        self.max_items
    }

    /// Begins a stream.
    pub fn open(self: &Arc<Self>) -> (CommandStream, mpsc::Receiver<Answer>) {
        // Each unanswered command fills one place at most, and the end of the stream one more for each partition.
        let (answers, receiver) = mpsc::channel(self.max_items + self.partitions.len());
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        (
            CommandStream {
                streams: Arc::clone(self),
                id,
                answers,
                known_to: Mutex::default(),
            },
            receiver,
        )
    }
}

impl CommandStream {
    /// Where answers go that are given before a command reaches its partition.
    pub fn answers(&self) -> mpsc::Sender<Answer> {
        self.answers.clone()
    }

    /// Resolves when a partition takes nothing any more: the process ends.
    pub async fn ended(&self) {
        let closed = self
            .streams
            .partitions
            .iter()
            .map(|it| Box::pin(it.closed()));
        futures::future::select_all(closed).await;
    }

    /// Hands commands on, in their order. The caller keeps within `max_items`.
    pub async fn submit(&self, mut commands: Vec<Command>) -> Result<(), Refusal> {
        for command in &mut commands {
            command.origin.stream = self.id;
            command.refused = self.streams.limits.check_user(command).map(Box::new);
        }
        let count = u32::try_from(self.streams.partitions.len()).unwrap_or(u32::MAX);
        if count <= 1 {
            return self.deliver(0, commands).await;
        }
        let mut parts: Vec<Vec<Command>> = Vec::new();
        parts.resize_with(self.streams.partitions.len(), Vec::new);
        for command in commands {
            if let Some(part) = parts.get_mut(partition_of(&command.conversation, count) as usize) {
                part.push(command);
            }
        }
        for (partition, part) in (0..).zip(parts) {
            self.deliver(partition, part).await?;
        }
        Ok(())
    }

    async fn deliver(&self, partition: u32, commands: Vec<Command>) -> Result<(), Refusal> {
        if commands.is_empty() {
            return Ok(());
        }
        self.known_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition);
        let delivery = Delivery::Commands {
            answers: self.answers.clone(),
            commands,
        };
        let Some(inbox) = self.streams.partitions.get(partition as usize) else {
            return Err(Refusal::internal(format!(
                "there is no partition {partition}"
            )));
        };
        inbox.send(delivery).await.map_err(|_| ending())
    }
}

/// The process ends.
pub fn ending() -> Refusal {
    Refusal::unavailable("this process is ending", Duration::from_secs(1))
}

impl Drop for CommandStream {
    fn drop(&mut self) {
        let known_to =
            std::mem::take(&mut *self.known_to.lock().unwrap_or_else(PoisonError::into_inner));
        for partition in known_to {
            let Some(inbox) = self.streams.partitions.get(partition as usize) else {
                continue;
            };
            if let Err(mpsc::error::TrySendError::Full(end)) =
                inbox.try_send(Delivery::End(self.id))
            {
                let inbox = inbox.clone();
                tokio::spawn(async move {
                    // Closed: the partition's task has ended, and the stream's lanes with it.
                    let _ = inbox.send(end).await;
                });
            }
        }
    }
}
