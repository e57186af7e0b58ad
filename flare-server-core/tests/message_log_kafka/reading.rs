//! Readers: side by side, behind, waiting, below the floor.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flare_server_core::{
    log_file::MAX_RECORD_BYTES,
    message_log::{MessageLog, ReadError, TOPIC},
    telemetry,
};
use rdkafka::{Offset, TopicPartitionList, admin::AdminOptions};
use tokio::time::timeout;

use crate::support::{self, PATIENCE, contents, fresh, installation, open, text};

/// So many records, written in no time.
async fn fill(log: &dyn MessageLog, count: u64, bytes: usize) {
    let record = |index: u64| {
        let mut record = vec![b'x'; bytes];
        record[..8].copy_from_slice(&index.to_be_bytes());
        Bytes::from(record)
    };
    let appends = (0..count).map(|index| log.append(0, record(index)));
    let mut offsets = futures::future::try_join_all(appends).await.unwrap();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn readers_of_one_partition_go_on_side_by_side() {
    let (recorder, metrics) = telemetry::recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    fill(&*log, 4_000, 1_000).await;
    let reader = open(&kafka, 1).await;
    let (mut first, mut second) = (0, 2_000);
    while first < 2_000 {
        for at in [&mut first, &mut second] {
            let read = reader.read(0, *at, 20_000).await.unwrap();
            assert!(read.records.len() <= 20);
            for (offset, _) in read.records {
                assert_eq!(offset, *at);
                *at += 1;
            }
            *at = (*at).min(4_000);
        }
    }
    let text = metrics.render();
    let places = "flare_message_log_places_total{lane=\"scan\"} 2\n";
    assert!(text.contains(places), "each has one place:\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_far_behind_reads_everything_in_pieces() {
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    for _ in 0..2 {
        log.append(0, Bytes::from(vec![1; MAX_RECORD_BYTES]))
            .await
            .unwrap();
    }
    let large = contents(&*log, 0, 0).await;
    assert!(large.iter().all(|it| it.len() == MAX_RECORD_BYTES));
    let more = (0..60).map(|_| log.append(0, Bytes::from(vec![2; 500_000])));
    futures::future::try_join_all(more).await.unwrap();
    let reader = open(&kafka, 1).await;
    assert_eq!(contents(&*reader, 0, 0).await.len(), 62);
    assert_eq!(contents(&*reader, 0, 31).await.len(), 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_partitions_are_read_at_once() {
    let kafka = installation();
    let log = fresh(&kafka, 64).await;
    let appends = (0..64).map(|partition| log.append(partition, text(u64::from(partition))));
    futures::future::try_join_all(appends).await.unwrap();
    let reader = open(&kafka, 64).await;
    let begun = Instant::now();
    let reads = (0..64).map(|partition| contents(&*reader, partition, 0));
    let all = timeout(PATIENCE, futures::future::join_all(reads))
        .await
        .unwrap();
    eprintln!("64 partitions folded in {} ms", begun.elapsed().as_millis());
    for (partition, records) in all.into_iter().enumerate() {
        assert_eq!(records, [text(partition as u64)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_has_a_record_soon_after_its_append() {
    let kafka = installation();
    let log = fresh(&kafka, 4).await;
    let reader = open(&kafka, 4).await;
    let waiting = |reader: Arc<dyn MessageLog>, at: u64| {
        tokio::spawn(async move {
            let end = reader.wait_beyond(3, at).await.unwrap();
            assert!(end > at);
            let read = reader.read(3, at, 1 << 20).await.unwrap();
            assert_eq!(read.records, [(at, text(at))]);
            Instant::now()
        })
    };
    let mut took = Vec::new();
    for at in 0..200 {
        let waiting = waiting(Arc::clone(&reader) as _, at);
        tokio::task::yield_now().await;
        assert_eq!(log.append(3, text(at)).await.unwrap(), at);
        let acknowledged = Instant::now();
        let came = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        took.push(came.saturating_duration_since(acknowledged));
    }
    took.sort_unstable();
    eprintln!(
        "after the ack: p50 {:?}, p90 {:?}, most {:?}",
        took[100], took[180], took[199]
    );
    assert!(took[100] < Duration::from_millis(50), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_what_is_far_ahead_is_told_when_it_comes() {
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    let reader = open(&kafka, 1).await;
    let mut waiting = tokio::spawn(async move { reader.wait_beyond(0, 2_999).await });
    fill(&*log, 2_999, 1_000).await;
    let early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    log.append(0, text(0)).await.unwrap();
    let end = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(end, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_has_removed_is_reported_with_the_floor() {
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    fill(&*log, 10, 100).await;
    assert_eq!(log.floor(0).await.unwrap(), 0);
    let mut below = TopicPartitionList::new();
    let topic = format!("{}{TOPIC}", kafka.prefix);
    below
        .add_partition_offset(&topic, 0, Offset::Offset(6))
        .unwrap();
    let removed = support::admin(&kafka)
        .delete_records(&below, &AdminOptions::new())
        .await;
    removed.unwrap();
    assert_eq!(log.floor(0).await.unwrap(), 6);
    for log in [Arc::clone(&log), open(&kafka, 1).await] {
        match log.read(0, 5, 1).await {
            Err(ReadError::Trimmed {
                offset: 5,
                floor: 6,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(contents(&*log, 0, 6).await.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_append_leaves_the_log_whole() {
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    for index in 0..20 {
        let mut append = Box::pin(log.append(0, text(index)));
        assert!(futures::poll!(&mut append).is_pending());
        drop(append);
    }
    let last = log.append(0, text(20)).await.unwrap();
    let kept = contents(&*log, 0, 0).await;
    assert_eq!(kept.len() as u64, last + 1);
    assert_eq!(kept.last(), Some(&text(20)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_log_ends_who_waits() {
    let kafka = installation();
    let log = fresh(&kafka, 1).await;
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(0, 0).await }
    });
    log.append(0, text(0)).await.unwrap();
    waiting.await.unwrap().unwrap();
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(0, 1).await }
    });
    log.close();
    let ended = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ReadError::Closed(0))), "{ended:?}");
    assert!(log.append(0, text(1)).await.is_err());
}
