//! The embedded message log keeps the contract of `MessageLog`; logs that break one obligation
//! fail the test of that one.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::log_file::faults::{Fault, FaultyLayer, Operation};
use flare_server_core::log_file::{
    AsyncLogOptions, DiskLayer, FileLayer, LogOptions, MAX_RECORD_BYTES,
};
use flare_server_core::message_log::contract::{
    MessageLogSite, message_log_obligations, violations,
};
use flare_server_core::message_log::{
    AppendError, EmbeddedMessageLog, LogRead, MessageLog, ReadError, RoomState, TrimError,
};
use tokio::sync::watch;

fn open(layer: Arc<dyn FileLayer>, folder: &Path, tail_bytes: usize) -> Arc<EmbeddedMessageLog> {
    let options = AsyncLogOptions {
        log: LogOptions {
            segment_bytes: 8 << 10,
            prepare_ahead: false,
            ..LogOptions::default()
        },
        tail_bytes,
        room_check_every: Duration::from_millis(1),
        ..AsyncLogOptions::default()
    };
    Arc::new(EmbeddedMessageLog::open(layer, folder, options).unwrap())
}

/// An embedded log on a disk that can fail, and perhaps a flaw in front of it.
#[derive(Default)]
struct FaultySite {
    disk: Mutex<FaultyLayer>,
    flaw: Option<Flaw>,
}

impl FaultySite {
    fn with(flaw: Option<Flaw>) -> Box<dyn MessageLogSite> {
        Box::new(Self {
            flaw,
            ..Self::default()
        })
    }

    fn open_on(&self, disk: FaultyLayer) -> Arc<dyn MessageLog> {
        disk.ignore_syncs(self.flaw == Some(Flaw::AcknowledgesUnsynced));
        *self.disk.lock().unwrap() = disk.clone();
        // Little is in memory, so that files are read too.
        let inner = open(Arc::new(disk), Path::new("log"), 4 << 10);
        match self.flaw {
            None => inner,
            Some(flaw) => Arc::new(Flawed {
                inner,
                flaw,
                ghost: Mutex::default(),
                fresh: AtomicBool::new(true),
            }),
        }
    }

    fn disk(&self) -> FaultyLayer {
        self.disk.lock().unwrap().clone()
    }
}

#[async_trait]
impl MessageLogSite for FaultySite {
    async fn open(&self) -> Arc<dyn MessageLog> {
        self.open_on(self.disk())
    }

    async fn restart(&self) -> Arc<dyn MessageLog> {
        self.open_on(self.disk().process_crash())
    }

    async fn lose_power(&self) -> Arc<dyn MessageLog> {
        self.open_on(self.disk().total_power_loss())
    }

    fn fail_appends(&self) {
        self.disk().inject(|operation| match operation {
            Operation::Sync(_) => Fault::Fail(std::io::ErrorKind::Other),
            _ => Fault::None,
        });
    }

    fn limit_room(&self, low: bool) -> bool {
        self.disk().set_free_bytes(if low { 0 } else { u64::MAX });
        true
    }
}

/// An embedded log on the disk of this machine, which does not lose power.
struct DiskSite {
    folder: tempfile::TempDir,
    log: Mutex<Option<Arc<EmbeddedMessageLog>>>,
}

#[async_trait]
impl MessageLogSite for DiskSite {
    async fn open(&self) -> Arc<dyn MessageLog> {
        let log = open(Arc::new(DiskLayer), self.folder.path(), 16 << 20);
        *self.log.lock().unwrap() = Some(log.clone());
        log
    }

    async fn restart(&self) -> Arc<dyn MessageLog> {
        if let Some(log) = self.log.lock().unwrap().take() {
            log.close();
        }
        self.open().await
    }

    async fn lose_power(&self) -> Arc<dyn MessageLog> {
        self.restart().await
    }

    fn fail_appends(&self) {}

    fn limit_room(&self, _low: bool) -> bool {
        false
    }
}

/// One way to break one obligation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    AcknowledgesUnsynced,
    SkipsAnOffsetAfterRestart,
    DropsTrailingZeros,
    ClaimsToKnow,
    LagsBehindAcknowledgements,
    ShowsWhatIsNotDurable,
    LeavesOneOutOfLongReads,
    ReadsTwiceAsMuch,
    DoesNotWait,
    TrimsEverything,
    CutsLargeRecords,
    HidesWantOfRoom,
    TakesAnyPartition,
}

struct Flawed {
    inner: Arc<EmbeddedMessageLog>,
    flaw: Flaw,
    /// A record that is not in the log and yet shown.
    ghost: Mutex<Option<Bytes>>,
    /// Nothing was appended since it was opened.
    fresh: AtomicBool,
}

impl Flawed {
    fn partition(&self, partition: u32) -> u32 {
        if self.flaw == Flaw::TakesAnyPartition {
            0
        } else {
            partition
        }
    }
}

#[async_trait]
impl MessageLog for Flawed {
    async fn append(&self, partition: u32, mut record: Bytes) -> Result<u64, AppendError> {
        let partition = self.partition(partition);
        let fresh = self.fresh.swap(false, SeqCst);
        match self.flaw {
            Flaw::SkipsAnOffsetAfterRestart
                if fresh && self.inner.durable_end(0).await.unwrap() > 0 =>
            {
                self.inner.append(partition, Bytes::new()).await?;
            }
            Flaw::DropsTrailingZeros => {
                let end = record
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |last| last + 1);
                record.truncate(end);
            }
            Flaw::CutsLargeRecords if record.len() > MAX_RECORD_BYTES => record.truncate(100),
            _ => {}
        }
        match (
            self.flaw,
            self.inner.append(partition, record.clone()).await,
        ) {
            (Flaw::ClaimsToKnow, Err(AppendError::Unknown { .. })) => {
                Err(AppendError::Closed(partition))
            }
            (Flaw::ShowsWhatIsNotDurable, Err(error @ AppendError::Unknown { .. })) => {
                *self.ghost.lock().unwrap() = Some(record);
                Err(error)
            }
            (Flaw::HidesWantOfRoom, Err(AppendError::NoRoom { .. })) => Err(AppendError::Unknown {
                partition,
                reason: "something".to_owned(),
            }),
            (_, outcome) => outcome,
        }
    }

    async fn read(
        &self,
        partition: u32,
        from: u64,
        max_bytes: usize,
    ) -> Result<LogRead, ReadError> {
        let partition = self.partition(partition);
        let ghost = self.ghost.lock().unwrap().clone();
        if let Some(ghost) = ghost {
            let end = self.inner.durable_end(partition).await?;
            let mut read = self.inner.read(partition, from.min(end), max_bytes).await?;
            read.records.push((end, ghost));
            read.records.retain(|(offset, _)| *offset >= from);
            return Ok(read);
        }
        let twice = self.flaw == Flaw::ReadsTwiceAsMuch;
        let max_bytes = if twice {
            max_bytes.saturating_mul(2)
        } else {
            max_bytes
        };
        let mut read = self.inner.read(partition, from, max_bytes).await?;
        if self.flaw == Flaw::LeavesOneOutOfLongReads
            && max_bytes == usize::MAX
            && read.records.len() > 1
        {
            read.records.remove(1);
        }
        Ok(read)
    }

    async fn floor(&self, partition: u32) -> Result<u64, ReadError> {
        self.inner.floor(partition).await
    }

    async fn durable_end(&self, partition: u32) -> Result<u64, ReadError> {
        let end = self.inner.durable_end(partition).await?;
        let lag = u64::from(self.flaw == Flaw::LagsBehindAcknowledgements);
        Ok(end.saturating_sub(lag))
    }

    async fn wait_beyond(&self, partition: u32, offset: u64) -> Result<u64, ReadError> {
        match self.flaw {
            Flaw::DoesNotWait => self.inner.durable_end(partition).await,
            _ => self.inner.wait_beyond(partition, offset).await,
        }
    }

    async fn trim(&self, partition: u32, released: u64, stored: u64) -> Result<(), TrimError> {
        let end = self.inner.durable_end(partition).await.unwrap();
        let all = self.flaw == Flaw::TrimsEverything && released.max(stored) <= end;
        self.inner
            .trim(partition, if all { end } else { released }, stored)
            .await
    }

    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    fn assignments(&self, group: &str) -> watch::Receiver<Vec<u32>> {
        self.inner.assignments(group)
    }

    fn room(&self) -> RoomState {
        self.inner.room()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }
}

async fn violated(flaw: Option<Flaw>) -> Vec<&'static str> {
    let violations = violations(&message_log_obligations(), || FaultySite::with(flaw)).await;
    violations.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn the_embedded_log_keeps_every_obligation_on_a_disk_that_fails() {
    let violations = violations(&message_log_obligations(), || FaultySite::with(None)).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test]
async fn the_embedded_log_keeps_every_obligation_on_a_real_disk() {
    let site = || -> Box<dyn MessageLogSite> {
        Box::new(DiskSite {
            folder: tempfile::tempdir().unwrap(),
            log: Mutex::default(),
        })
    };
    let violations = violations(&message_log_obligations(), site).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test]
async fn a_log_that_breaks_one_obligation_fails_that_test_only() {
    let flaws = [
        (Flaw::AcknowledgesUnsynced, "durable"),
        (Flaw::SkipsAnOffsetAfterRestart, "dense"),
        (Flaw::DropsTrailingZeros, "unaltered"),
        (Flaw::ClaimsToKnow, "unknown_means_maybe"),
        (Flaw::LagsBehindAcknowledgements, "seen_when_acknowledged"),
        (Flaw::ShowsWhatIsNotDurable, "only_what_is_durable_is_seen"),
        (Flaw::LeavesOneOutOfLongReads, "contiguous"),
        (Flaw::ReadsTwiceAsMuch, "bounded"),
        (Flaw::DoesNotWait, "waits"),
        (Flaw::TrimsEverything, "trimmed_as_told"),
        (Flaw::CutsLargeRecords, "limited"),
        (Flaw::HidesWantOfRoom, "refused_for_want_of_room"),
        (Flaw::TakesAnyPartition, "partitioned"),
    ];
    let names: Vec<_> = message_log_obligations()
        .iter()
        .map(|obligation| obligation.name)
        .collect();
    assert_eq!(
        names,
        flaws.map(|(_, name)| name),
        "each obligation has a log that breaks it"
    );
    for (flaw, obligation) in flaws {
        assert_eq!(violated(Some(flaw)).await, [obligation], "{flaw:?}");
    }
}
