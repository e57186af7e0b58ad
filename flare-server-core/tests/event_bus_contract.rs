//! The embedded event bus keeps the contract of `EventBus`; buses that break one obligation fail
//! the test of that one.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_server_core::event_bus::contract::{EventBusSite, event_bus_obligations};
use flare_server_core::event_bus::{
    BatchHandler, BusRecord, EmbeddedBusOptions, EmbeddedEventBus, EventBus, Follower, Following,
    Handled, PublishError, RegisterError, SubscribeError, Subscription, TopicView,
};
use flare_server_core::log_file::faults::FaultyLayer;
use flare_server_core::log_file::{AsyncLogOptions, DiskLayer, FileLayer, LogOptions};
use flare_server_core::message_log::contract::violations;
use tokio_util::sync::CancellationToken;

fn open(layer: Arc<dyn FileLayer>, folder: &Path) -> Arc<EmbeddedEventBus> {
    let log = LogOptions {
        segment_bytes: 8 << 10,
        prepare_ahead: false,
        ..LogOptions::default()
    };
    let options = EmbeddedBusOptions {
        log: AsyncLogOptions {
            log,
            ..AsyncLogOptions::default()
        },
        batch_records: 16,
        keep_cursor_every: Duration::from_millis(1),
        retry: backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(1))
            .with_max_delay(Duration::from_millis(2))
            .without_max_times(),
        ..EmbeddedBusOptions::default()
    };
    Arc::new(EmbeddedEventBus::open(layer, folder, options).unwrap())
}

/// An embedded bus on a disk that can fail, and perhaps a flaw in front of it.
#[derive(Default)]
struct FaultySite {
    disk: Mutex<FaultyLayer>,
    starts: AtomicUsize,
    flaw: Option<Flaw>,
}

impl FaultySite {
    fn with(flaw: Option<Flaw>) -> Box<dyn EventBusSite> {
        Box::new(Self {
            flaw,
            ..Self::default()
        })
    }

    fn open_on(&self, disk: FaultyLayer) -> Arc<dyn EventBus> {
        disk.ignore_syncs(self.flaw == Some(Flaw::AcknowledgesUnsynced));
        *self.disk.lock().unwrap() = disk.clone();
        let inner = open(Arc::new(disk), Path::new("bus"));
        let start = self.starts.fetch_add(1, SeqCst);
        match self.flaw {
            None => inner,
            Some(flaw) => Arc::new(Flawed {
                inner,
                flaw,
                start,
                members: Mutex::default(),
            }),
        }
    }

    fn disk(&self) -> FaultyLayer {
        self.disk.lock().unwrap().clone()
    }
}

#[async_trait]
impl EventBusSite for FaultySite {
    async fn open(&self) -> Arc<dyn EventBus> {
        self.open_on(self.disk())
    }

    async fn restart(&self) -> Arc<dyn EventBus> {
        self.open_on(self.disk().process_crash())
    }

    async fn lose_power(&self) -> Arc<dyn EventBus> {
        self.open_on(self.disk().total_power_loss())
    }
}

/// An embedded bus on the disk of this machine, which ends in order and does not lose power.
struct DiskSite {
    folder: tempfile::TempDir,
    bus: Mutex<Option<Arc<EmbeddedEventBus>>>,
}

#[async_trait]
impl EventBusSite for DiskSite {
    async fn open(&self) -> Arc<dyn EventBus> {
        let bus = open(Arc::new(DiskLayer), self.folder.path());
        *self.bus.lock().unwrap() = Some(bus.clone());
        bus
    }

    async fn restart(&self) -> Arc<dyn EventBus> {
        let bus = self.bus.lock().unwrap().take();
        if let Some(bus) = bus {
            bus.close().await;
        }
        self.open().await
    }

    async fn lose_power(&self) -> Arc<dyn EventBus> {
        self.restart().await
    }
}

/// One way to break one obligation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    AcknowledgesUnsynced,
    DropsTrailingZeros,
    TurnsLongBatchesAround,
    GivesUpOnSlowHandlers,
    KeepsUnflushed,
    ForgetsGroupsAtRestart,
    TakesRetryForOk,
    TakesRejectForOk,
    GivesAllToEachMember,
    TellsNobody,
    GoesOnAfterShutdown,
    HidesPositions,
    ReleasesTooMuch,
    SaysThatItCaughtUp,
    FollowsFromTheEnd,
    MendsNames,
    SwallowsPublishesToViews,
}

struct Flawed {
    inner: Arc<EmbeddedEventBus>,
    flaw: Flaw,
    /// Which start of the process this is.
    start: usize,
    /// Subscriptions so far, by group.
    members: Mutex<HashMap<String, usize>>,
}

impl Flawed {
    fn name(&self, name: &str) -> String {
        match self.flaw {
            Flaw::MendsNames if name.is_empty() || name.len() > 128 => "mended".to_owned(),
            Flaw::MendsNames => {
                let fine =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
                let mended = name.replace(|c| !fine(c), "x");
                if mended.starts_with(['.', '-']) {
                    format!("x{mended}")
                } else {
                    mended
                }
            }
            _ => name.to_owned(),
        }
    }
}

struct FlawedHandler {
    inner: Arc<dyn BatchHandler>,
    flaw: Flaw,
}

#[async_trait]
impl BatchHandler for FlawedHandler {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        let mut batch = batch.to_vec();
        if self.flaw == Flaw::HidesPositions {
            batch.iter_mut().for_each(|record| record.position = 0);
        }
        let limit = if self.flaw == Flaw::GivesUpOnSlowHandlers {
            50
        } else {
            60_000
        };
        let handled =
            tokio::time::timeout(Duration::from_millis(limit), self.inner.handle(&batch)).await;
        match (self.flaw, handled.unwrap_or(Handled::Ok)) {
            (Flaw::TakesRejectForOk, Handled::Reject { .. }) => Handled::Ok,
            (Flaw::TakesRetryForOk, Handled::Retry) if batch.len() > 1 => Handled::Ok,
            (_, handled) => handled,
        }
    }

    async fn flush(&self) -> Result<(), Refusal> {
        match self.flaw {
            Flaw::KeepsUnflushed => Ok(()),
            _ => self.inner.flush().await,
        }
    }

    async fn reassigned(&self) {
        if self.flaw != Flaw::TellsNobody {
            self.inner.reassigned().await;
        }
    }
}

#[async_trait]
impl EventBus for Flawed {
    async fn publish_batch(
        &self,
        topic: &str,
        mut records: Vec<(Bytes, Bytes)>,
    ) -> Result<(), PublishError> {
        match self.flaw {
            Flaw::DropsTrailingZeros => {
                for (_, payload) in &mut records {
                    let end = payload
                        .iter()
                        .rposition(|byte| *byte != 0)
                        .map_or(0, |last| last + 1);
                    payload.truncate(end);
                }
            }
            Flaw::TurnsLongBatchesAround if records.len() > 4 => records.reverse(),
            _ => {}
        }
        match self.inner.publish_batch(&self.name(topic), records).await {
            Err(PublishError::View(_)) if self.flaw == Flaw::SwallowsPublishesToViews => Ok(()),
            outcome => outcome,
        }
    }

    async fn subscribe(
        &self,
        topic: &str,
        group: &str,
        handler: Arc<dyn BatchHandler>,
    ) -> Result<Subscription, SubscribeError> {
        let member = {
            let mut members = self.members.lock().unwrap();
            let count = members.entry(group.to_owned()).or_default();
            *count += 1;
            *count
        };
        let group = match self.flaw {
            Flaw::GivesAllToEachMember if member > 1 => format!("{group}-{member}"),
            Flaw::ForgetsGroupsAtRestart if self.start > 0 => format!("{group}-{}", self.start),
            _ => self.name(group),
        };
        let handler = Arc::new(FlawedHandler {
            inner: handler,
            flaw: self.flaw,
        });
        let subscription = self
            .inner
            .subscribe(&self.name(topic), &group, handler)
            .await?;
        if self.flaw != Flaw::GoesOnAfterShutdown {
            return Ok(subscription);
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.cancelled().await;
            // The position is kept a millisecond after it moves.
            let mut late = tokio::time::interval(Duration::from_millis(50));
            late.tick().await;
            late.tick().await;
            std::mem::forget(subscription);
        });
        Ok(Subscription::new(stop, task))
    }

    async fn follow(
        &self,
        topic: &str,
        behind: u64,
        follower: Arc<dyn Follower>,
    ) -> Result<Following, SubscribeError> {
        let behind = match self.flaw {
            Flaw::FollowsFromTheEnd => 0,
            _ => behind,
        };
        self.inner.follow(&self.name(topic), behind, follower).await
    }

    async fn register_view(
        &self,
        topic: &str,
        view: Arc<dyn TopicView>,
    ) -> Result<(), RegisterError> {
        self.inner.register_view(&self.name(topic), view).await
    }

    async fn lowest_cursor(&self, topic: &str) -> Result<Option<u64>, SubscribeError> {
        let lowest = self.inner.lowest_cursor(&self.name(topic)).await?;
        let too_much = if self.flaw == Flaw::ReleasesTooMuch {
            1
        } else {
            0
        };
        Ok(lowest.map(|lowest| lowest + too_much))
    }

    async fn caught_up(&self, topic: &str, group: &str) -> Result<(), SubscribeError> {
        if self.flaw == Flaw::SaysThatItCaughtUp {
            return Ok(());
        }
        self.inner
            .caught_up(&self.name(topic), &self.name(group))
            .await
    }
}

#[tokio::test]
async fn the_embedded_bus_keeps_every_obligation_on_a_disk_that_fails() {
    let violations = violations(&event_bus_obligations(), || FaultySite::with(None)).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_bus_keeps_every_obligation_on_a_real_disk() {
    let site = || -> Box<dyn EventBusSite> {
        Box::new(DiskSite {
            folder: tempfile::tempdir().unwrap(),
            bus: Mutex::default(),
        })
    };
    // Its restart is an orderly one, which waits for the handler that hangs.
    let obligations: Vec<_> = event_bus_obligations()
        .into_iter()
        .filter(|obligation| obligation.name != "at_least_once")
        .collect();
    let violations = violations(&obligations, site).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test]
async fn a_bus_that_breaks_one_obligation_fails_that_test_only() {
    let flaws = [
        (Flaw::AcknowledgesUnsynced, "durable"),
        (Flaw::DropsTrailingZeros, "every_group_gets_every_record"),
        (Flaw::TurnsLongBatchesAround, "order_per_key"),
        (Flaw::GivesUpOnSlowHandlers, "at_least_once"),
        (Flaw::KeepsUnflushed, "flushed"),
        (Flaw::ForgetsGroupsAtRestart, "kept_position"),
        (Flaw::TakesRetryForOk, "retry"),
        (Flaw::TakesRejectForOk, "reject"),
        (Flaw::GivesAllToEachMember, "shared"),
        (Flaw::TellsNobody, "told"),
        (Flaw::GoesOnAfterShutdown, "stopped"),
        (Flaw::HidesPositions, "ascending"),
        (Flaw::ReleasesTooMuch, "released"),
        (Flaw::SaysThatItCaughtUp, "caught_up"),
        (Flaw::FollowsFromTheEnd, "followed"),
        (Flaw::MendsNames, "names_are_checked"),
        (Flaw::SwallowsPublishesToViews, "views"),
    ];
    let names: Vec<_> = event_bus_obligations()
        .iter()
        .map(|obligation| obligation.name)
        .collect();
    assert_eq!(
        names,
        flaws.map(|(_, name)| name),
        "each obligation has a bus that breaks it"
    );
    let obligations = event_bus_obligations();
    let runs =
        flaws.map(|(flaw, _)| violations(&obligations, move || FaultySite::with(Some(flaw))));
    for ((flaw, obligation), violations) in flaws.iter().zip(futures::future::join_all(runs).await)
    {
        let names: Vec<_> = violations.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [*obligation], "{flaw:?}: {violations:?}");
    }
}
