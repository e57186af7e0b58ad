//! The partitions that this process works on: those that it is assigned.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use flare_server_core::{readiness::ReadyHandle, registry::service, shutdown::Shutdown};
use tokio::{
    sync::watch,
    task::{self, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{around::Around, trim::Trimmer, work::Work};

pub use super::work::{Halt, Stream};

/// A group that has assigned nothing by then has nothing for this process: its members are missed after ten seconds.
const GROUP_PATIENCE: Duration = Duration::from_secs(15);

/// Works on each assigned partition, in a task of its own.
///
/// One that halts does so alone, where processes share the log: the others go on, and it is not begun again before it was assigned to somebody else
/// or the process started again. Where nobody else has the log, a halt ends the process.
///
/// The process is ready when it has caught up with the log in all partitions that it was assigned first. Nobody says that a group has no partition for it:
/// after 15 seconds it is ready without one. Later it is not ready while a partition stands still.
pub struct Partitions {
    around: Arc<Around>,
    stream: Arc<Stream>,
    trimmer: Arc<Trimmer>,
    ready: ReadyHandle,
    was_ready: bool,
    assigned: watch::Receiver<Vec<u32>>,
    at_work: BTreeMap<u32, AtWork>,
    tasks: JoinSet<(u32, Result<(), Halt>)>,
    /// Of those at work, which have not reached the log's end yet.
    catching_up: watch::Sender<BTreeSet<u32>>,
    progress: watch::Receiver<BTreeSet<u32>>,
    /// Assigned here and halted, or at their end as the log is closed.
    ended: BTreeMap<u32, Option<Halt>>,
    ready_without: Instant,
}

struct AtWork {
    task: task::Id,
    stop: CancellationToken,
}

impl Partitions {
    /// Joins the group of storage-writers.
    pub fn new(
        around: Arc<Around>,
        stream: Stream,
        trimmer: Arc<Trimmer>,
        ready: ReadyHandle,
    ) -> Self {
        let mut assigned = around.log.assignments(service::STORAGE_WRITER);
        assigned.mark_changed();
        around.outages.show();
        let (catching_up, progress) = watch::channel(BTreeSet::new());
        Self {
            around,
            stream: Arc::new(stream),
            trimmer,
            ready,
            was_ready: false,
            assigned,
            at_work: BTreeMap::new(),
            tasks: JoinSet::new(),
            catching_up,
            progress,
            ended: BTreeMap::new(),
            ready_without: Instant::now() + GROUP_PATIENCE,
        }
    }

    /// Works until the process is ready.
    ///
    /// # Errors
    /// A partition has halted, and nobody else has the log.
    pub async fn catch_up(&mut self) -> Result<(), Halt> {
        while !self.was_ready {
            self.turn().await?;
        }
        Ok(())
    }

    /// Works until a drain; then leaves all partitions, and the group when they are left.
    ///
    /// # Errors
    /// A partition has halted, and nobody else has the log.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<(), Halt> {
        while let Some(turned) = shutdown.or_drain(self.turn()).await {
            turned?;
        }
        for it in self.at_work.values() {
            it.stop.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.has_ended(ended)?;
        }
        Ok(())
    }

    /// Waits until something happens, and does what follows. Nothing is lost if it is dropped.
    async fn turn(&mut self) -> Result<(), Halt> {
        tokio::select! {
            Ok(()) = self.assigned.changed() => {}
            Some(ended) = self.tasks.join_next() => self.has_ended(ended)?,
            Ok(()) = self.progress.changed() => {}
            () = sleep_until(self.ready_without), if Instant::now() < self.ready_without => {}
        }
        self.begin_and_stop();
        self.say();
        Ok(())
    }

    fn begin_and_stop(&mut self) {
        let assigned: BTreeSet<u32> = self.assigned.borrow_and_update().iter().copied().collect();
        self.ended
            .retain(|partition, _| assigned.contains(partition));
        for (partition, it) in &self.at_work {
            if !assigned.contains(partition) && !it.stop.is_cancelled() {
                tracing::info!(partition, "revoked");
                it.stop.cancel();
            }
        }
        self.around.share.among(assigned.len());
        for partition in assigned {
            // One that is assigned again before it was left is begun when it is.
            if !self.at_work.contains_key(&partition) && !self.ended.contains_key(&partition) {
                self.begin(partition);
            }
        }
    }

    fn begin(&mut self, partition: u32) {
        tracing::info!(partition, "assigned");
        let stop = CancellationToken::new();
        let work = Work {
            partition,
            around: Arc::clone(&self.around),
            stream: Arc::clone(&self.stream),
            trimmer: Arc::clone(&self.trimmer),
            stop: stop.clone(),
        };
        self.catching_up.send_if_modified(|it| it.insert(partition));
        let catching_up = self.catching_up.clone();
        let caught_up = move || {
            catching_up.send_if_modified(|it| it.remove(&partition));
        };
        let run = async move { (partition, work.run(caught_up).await) };
        let task = self.tasks.spawn(run).id();
        self.at_work.insert(partition, AtWork { task, stop });
    }

    fn has_ended(&mut self, ended: Result<(u32, Result<(), Halt>), JoinError>) -> Result<(), Halt> {
        let (partition, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let mut at_work = self.at_work.iter();
                let Some((partition, _)) = at_work.find(|(_, it)| it.task == error.id()) else {
                    return Ok(());
                };
                (*partition, Err(Halt::Panicked(error.to_string())))
            }
        };
        self.catching_up
            .send_if_modified(|it| it.remove(&partition));
        let was = self.at_work.remove(&partition);
        match outcome {
            Ok(()) if was.is_some_and(|it| it.stop.is_cancelled()) => {}
            // The log is closed: nothing comes any more.
            Ok(()) => {
                self.ended.insert(partition, None);
            }
            Err(halt) if !self.around.log.is_shared() => return Err(halt),
            Err(halt) => {
                tracing::error!(partition, %halt, "the partition has halted: nothing of it is stored or delivered until its cause is removed and this process started again");
                self.ended.insert(partition, Some(halt));
            }
        }
        Ok(())
    }

    /// Tells of itself.
    fn say(&mut self) {
        let is_up = self.progress.borrow_and_update().is_empty();
        let has_some = !self.at_work.is_empty() || !self.ended.is_empty();
        self.was_ready |= is_up && (has_some || Instant::now() >= self.ready_without);
        let halted = self.ended.values().flatten().count();
        self.ready.set(self.was_ready && halted == 0);
        metrics::gauge!("flare_storage_writer_partitions").set(self.at_work.len() as f64);
        metrics::gauge!("flare_storage_writer_halted_partitions").set(halted as f64);
    }
}
