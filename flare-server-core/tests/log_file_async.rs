//! A log behind its writer thread.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use flare_server_core::log_file::faults::{Fault, FaultyLayer, Operation};
use flare_server_core::log_file::{
    AsyncLog, AsyncLogOptions, Durability, LogError, LogFile, LogOptions,
};

fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        prepare_ahead: false,
        ..LogOptions::default()
    }
}

fn record(index: u64) -> Bytes {
    Bytes::from(format!("{index:0>1000}"))
}

#[tokio::test]
async fn appends_that_wait_share_a_sync() {
    let disk = FaultyLayer::new();
    let options = || AsyncLogOptions {
        log: LogOptions {
            segment_bytes: 1 << 20,
            prepare_ahead: false,
            ..LogOptions::default()
        },
        ..AsyncLogOptions::default()
    };
    let log =
        Arc::new(AsyncLog::open(Arc::new(disk.clone()), Path::new("log"), options()).unwrap());
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let (arrived, at_sync) = std::sync::mpsc::sync_channel(1);
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    disk.inject(move |operation| {
        if matches!(operation, Operation::Sync(_)) && counted.fetch_add(1, SeqCst) == 0 {
            arrived.send(()).unwrap();
            released.recv().unwrap();
        }
        Fault::None
    });
    let append = |index: u64| {
        let log = log.clone();
        async move { log.append(vec![record(index)]).await }
    };
    let first = tokio::spawn(append(0));
    tokio::task::spawn_blocking(move || at_sync.recv())
        .await
        .unwrap()
        .unwrap();
    // The writer hangs in its sync: these queue up, in this order.
    let mut waiting: Vec<_> = (1..=50).map(|index| Box::pin(append(index))).collect();
    for append in &mut waiting {
        assert!(futures::poll!(append).is_pending());
    }
    assert!(
        log.read(0, usize::MAX).await.unwrap().records.is_empty(),
        "not durable yet, so not seen"
    );
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 0);
    for (index, offset) in (1..).zip(futures::future::join_all(waiting).await) {
        assert_eq!(offset.unwrap(), index);
    }
    assert_eq!(syncs.load(SeqCst), 2);
    log.close();
    assert!(matches!(
        log.append(vec![record(51)]).await,
        Err(LogError::Closed)
    ));
    assert!(matches!(log.wait_beyond(51).await, Err(LogError::Closed)));
    let slice = log.read(0, usize::MAX).await.unwrap();
    assert_eq!(slice.records.len(), 51);
    let log = AsyncLog::open(Arc::new(disk), Path::new("log"), options()).unwrap();
    assert_eq!(log.read(0, usize::MAX).await.unwrap(), slice);
}

#[tokio::test]
async fn a_lazily_synced_log_is_synced_after_a_while() {
    let disk = FaultyLayer::new();
    let log = LogOptions {
        durability: Durability::Lazy,
        ..small()
    };
    let options = AsyncLogOptions {
        log,
        sync_after: Duration::from_millis(1),
        ..AsyncLogOptions::default()
    };
    let log = AsyncLog::open(Arc::new(disk.clone()), Path::new("log"), options).unwrap();
    let (synced, at_sync) = std::sync::mpsc::sync_channel(1);
    disk.inject(move |operation| {
        if matches!(operation, Operation::Sync(_)) {
            let _ = synced.try_send(());
        }
        Fault::None
    });
    log.append(vec![record(0)]).await.unwrap();
    let synced = tokio::task::spawn_blocking(move || at_sync.recv_timeout(Duration::from_secs(20)));
    synced.await.unwrap().unwrap();
    log.close();
    let log = LogFile::open(Arc::new(disk.total_power_loss()), Path::new("log"), small()).unwrap();
    assert_eq!(log.reader().read(0, 1).unwrap().records, [(0, record(0))]);
}
