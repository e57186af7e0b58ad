//! How the embedded event bus has handlers write what they hold in memory, beyond the contract.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_server_core::error::Refusal;
use flare_server_core::event_bus::{
    BatchHandler, BusRecord, EmbeddedBusOptions, EmbeddedEventBus, EventBus, Handled,
};
use flare_server_core::log_file::faults::FaultyLayer;
use tokio::sync::watch;

const TOPIC: &str = "flare.test.events";
const DEADLINE: Duration = Duration::from_secs(20);

fn open() -> EmbeddedEventBus {
    let options = EmbeddedBusOptions {
        keep_cursor_every: Duration::from_millis(1),
        ..EmbeddedBusOptions::default()
    };
    EmbeddedEventBus::open(Arc::new(FaultyLayer::new()), Path::new("bus"), options).unwrap()
}

async fn publish(bus: &EmbeddedEventBus, count: usize) {
    for _ in 0..count {
        bus.publish(TOPIC, Bytes::from_static(b"key"), Bytes::new())
            .await
            .unwrap();
    }
}

async fn kept_at(bus: &EmbeddedEventBus, position: u64) {
    let kept = async {
        while bus.lowest_cursor(TOPIC).await.unwrap() != Some(position) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, kept)
        .await
        .expect("a deadline");
}

async fn becomes<T>(of: &watch::Sender<T>, is_it: impl FnMut(&T) -> bool) {
    let mut changes = of.subscribe();
    let becomes = changes.wait_for(is_it);
    let became = tokio::time::timeout(DEADLINE, becomes).await;
    drop(became.expect("a deadline").unwrap());
}

/// What becomes of a flush.
#[derive(Clone, Copy, PartialEq)]
enum Disk {
    Writes,
    Hangs,
    Breaks,
}

/// Counts what it handles and how often it is to write it.
struct Holder {
    handled: watch::Sender<usize>,
    flushes: watch::Sender<usize>,
    disk: watch::Sender<Disk>,
}

impl Holder {
    fn on(disk: Disk) -> Arc<Self> {
        Arc::new(Self {
            handled: watch::Sender::default(),
            flushes: watch::Sender::default(),
            disk: watch::Sender::new(disk),
        })
    }
}

#[async_trait]
impl BatchHandler for Holder {
    async fn handle(&self, batch: &[BusRecord]) -> Handled {
        self.handled.send_modify(|it| *it += batch.len());
        Handled::Ok
    }

    async fn flush(&self) -> Result<(), Refusal> {
        self.flushes.send_modify(|it| *it += 1);
        becomes(&self.disk, |it| *it != Disk::Hangs).await;
        assert!(*self.disk.borrow() == Disk::Writes, "it cannot write");
        Ok(())
    }
}

#[tokio::test]
async fn batches_are_handed_over_while_a_handler_flushes() {
    let bus = open();
    let holder = Holder::on(Disk::Hangs);
    let subscription = bus.subscribe(TOPIC, "group", holder.clone()).await.unwrap();
    publish(&bus, 1).await;
    becomes(&holder.flushes, |it| *it == 1).await;
    publish(&bus, 2).await;
    becomes(&holder.handled, |it| *it == 3).await;
    kept_at(&bus, 0).await;
    holder.disk.send_replace(Disk::Writes);
    kept_at(&bus, 3).await;
    subscription.shutdown().await;
    assert!(
        *holder.flushes.borrow() >= 2,
        "it was asked again for the rest"
    );
}

#[tokio::test]
async fn what_a_handler_did_not_flush_comes_again_to_the_next() {
    let bus = open();
    let (broken, next) = (Holder::on(Disk::Breaks), Holder::on(Disk::Writes));
    let first = bus.subscribe(TOPIC, "group", broken.clone()).await.unwrap();
    publish(&bus, 3).await;
    becomes(&broken.handled, |it| *it == 3).await;
    becomes(&broken.flushes, |it| *it > 1).await;
    let _second = bus.subscribe(TOPIC, "group", next.clone()).await.unwrap();
    kept_at(&bus, 0).await;
    first.shutdown().await;
    becomes(&next.handled, |it| *it == 3).await;
    kept_at(&bus, 3).await;
}
