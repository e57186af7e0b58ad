//! A storage-writer process, without its listeners, among others on the same log, store, bus and cursors.

use std::{sync::Arc, time::Duration};

use flare_server_core::{
    clock::ManualClock, readiness::Readiness, shutdown::Shutdown, telemetry::Spans,
};
use flare_storage_model::{EmbeddedMessageStore, EmbeddedStoreOptions, MessageStore};
use flare_storage_writer::application::{
    around::{Around, Share},
    partitions::{Halt, Partitions, Stream},
    publish::Publishing,
    published::Published,
    trim::Trimmer,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    bus::{Connection, Topic},
    cursors::MemoryPublishedCursors,
    log::{Member, SharedLog},
    store::Reached,
    talk::{START_MS, Talk},
};

pub(crate) const PARTITIONS: u32 = 4;

/// What outlives processes.
pub(crate) struct Ground {
    pub(crate) log: Arc<SharedLog>,
    pub(crate) store: Arc<EmbeddedMessageStore>,
    pub(crate) topic: Topic,
    pub(crate) cursors: Arc<MemoryPublishedCursors>,
    _folder: TempDir,
}

impl Ground {
    pub(crate) fn new() -> (Self, Talk) {
        let folder = tempfile::tempdir().unwrap();
        let log = SharedLog::new(PARTITIONS as usize);
        let options = EmbeddedStoreOptions::default();
        let ground = Self {
            store: Arc::new(EmbeddedMessageStore::open(folder.path(), options).unwrap()),
            topic: Topic::default(),
            cursors: Arc::default(),
            _folder: folder,
            log,
        };
        let talk = Talk::new(&ground.log, PARTITIONS);
        (ground, talk)
    }

    /// Whether the store has all that is in the log.
    pub(crate) async fn is_stored(&self) -> bool {
        for partition in 0..PARTITIONS {
            let stored = self.store.cursor(partition).await.unwrap();
            if stored.next_offset < self.log.end(partition) {
                return false;
            }
        }
        true
    }
}

/// A running process.
pub(crate) struct Process {
    pub(crate) log: Arc<Member>,
    pub(crate) store: Arc<Reached>,
    pub(crate) bus: Arc<Connection>,
    pub(crate) around: Arc<Around>,
    pub(crate) readiness: Readiness,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), Halt>>,
    others: Vec<JoinHandle<()>>,
}

impl Process {
    /// Begins with what it is assigned.
    pub(crate) fn start(ground: &Ground, assigned: &[u32]) -> Self {
        Self::start_with(ground, assigned, |_, _| {})
    }

    /// The same, with faults from the beginning.
    pub(crate) fn start_with(
        ground: &Ground,
        assigned: &[u32],
        spoil: impl FnOnce(&Connection, &Reached),
    ) -> Self {
        let log = Member::new(&ground.log);
        log.assigned.send_replace(assigned.to_vec());
        let store = Reached::new(ground.store.clone());
        let bus = Connection::new(&ground.topic);
        spoil(&bus, &store);
        let around = Arc::new(Around::new(
            log.clone(),
            store.clone(),
            Arc::new(ManualClock::at(START_MS)),
            Spans::default(),
            // Small, so that there are many batches.
            Share::new(1_500, 1 << 20),
        ));
        let publishing = Arc::new(Publishing {
            bus: bus.clone(),
            published: Published::new(ground.cursors.clone()),
        });
        let trimmer = Arc::new(Trimmer::new(
            around.clone(),
            publishing.clone(),
            Duration::from_millis(1),
        ));
        let readiness = Readiness::default();
        let partitions = Partitions::new(
            around.clone(),
            Stream::Published(publishing.clone()),
            trimmer.clone(),
            readiness.register("storage-writer"),
        );
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        let keeping = around.clone();
        let others = vec![
            tokio::spawn(async move { trimmer.run().await }),
            tokio::spawn(async move { publishing.published.keep(&keeping.outages).await }),
        ];
        Self {
            run: tokio::spawn(async move { partitions.run(&ending).await }),
            log,
            store,
            bus,
            around,
            readiness,
            shutdown,
            others,
        }
    }

    pub(crate) fn assign(&self, partitions: &[u32]) {
        self.log.assigned.send_replace(partitions.to_vec());
    }

    /// Ends it at once, whatever it is at; what it had in hand is lost.
    pub(crate) async fn crash(self) {
        for task in &self.others {
            task.abort();
        }
        self.run.abort();
        drop(self.run.await);
    }

    /// Ends it in order.
    pub(crate) async fn drain(self) {
        self.shutdown.drain();
        self.run.await.unwrap().unwrap();
        for task in self.others {
            task.abort();
        }
    }

    /// What it was told to trim of a partition: released, stored.
    pub(crate) fn trims_of(&self, partition: u32) -> Vec<(u64, u64)> {
        let trims = self.log.trims.lock().unwrap();
        let of = trims.iter().filter(|(it, ..)| *it == partition);
        of.map(|(_, released, stored)| (*released, *stored))
            .collect()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }
}
