//! The message log while its broker is killed, paused and cut off: a broker of the test's own, of the jars in `FLARE_TEST_KAFKA_HOME`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flare_server_core::{
    kafka::{KafkaConfig, MESSAGE_TIMEOUT_MS},
    message_log::{AppendError, MessageLog, ReadError},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    broker::Broker,
    proxy::{Mode, Proxy},
    support::{PATIENCE, append_at_last, at, contents, fresh, open, text},
};

/// One broker at a time: each is a Java machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// An append may be late by as much: the producer looks at its clock now and then.
const LATE: Duration = Duration::from_secs(3);

/// Appends while nobody answers.
async fn unknown_in_time(log: &dyn MessageLog, partition: u32, record: Bytes) {
    let begun = Instant::now();
    let appended = log.append(partition, record).await;
    assert!(
        matches!(appended, Err(AppendError::Unknown { .. })),
        "{appended:?}"
    );
    let limit = Duration::from_millis(u64::from(MESSAGE_TIMEOUT_MS)) + LATE;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_killed_broker_and_the_log_goes_on() {
    let _turn = TURN.lock().await;
    let mut broker = Broker::start(None);
    let kafka = at(&broker.address());
    let log = fresh(&kafka, 2).await;
    let mut kept = Vec::new();
    for index in 0..50 {
        kept.push((log.append(0, text(index)).await.unwrap(), text(index)));
    }
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(1, 0).await }
    });
    let following = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait_beyond(0, 50).await }
    });

    broker.kill();
    unknown_in_time(&*log, 0, text(50)).await;
    broker.start_again();

    kept.push((append_at_last(&*log, 0, text(51)).await, text(51)));
    append_at_last(&*log, 1, text(0)).await;
    for waits in [waiting, following] {
        timeout(PATIENCE, waits).await.unwrap().unwrap().unwrap();
    }
    let anew = open(&kafka, 2).await;
    for log in [log, anew] {
        let all = contents(&*log, 0, 0).await;
        for (offset, record) in &kept {
            assert_eq!(all.get(*offset as usize), Some(record), "offset {offset}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_makes_nothing_certain_and_nothing_wedged() {
    let _turn = TURN.lock().await;
    let broker = Broker::start(None);
    let kafka = at(&broker.address());
    let log = fresh(&kafka, 1).await;
    log.append(0, text(0)).await.unwrap();

    broker.pause();
    let appends = (1..4).map(|index| unknown_in_time(&*log, 0, text(index)));
    let reads = async {
        let begun = Instant::now();
        let read = log.read(0, 0, 1 << 20).await;
        assert!(
            matches!(read, Err(ReadError::Unavailable { .. })),
            "{read:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(13),
            "{:?}",
            begun.elapsed()
        );
    };
    tokio::join!(futures::future::join_all(appends), reads);
    broker.resume();

    let offset = append_at_last(&*log, 0, text(4)).await;
    let all = contents(&*log, 0, 0).await;
    assert_eq!(all[0], text(0));
    assert_eq!(all[offset as usize], text(4));
    let sent: Vec<_> = (0..5).map(text).collect();
    assert!(all.iter().all(|it| sent.contains(it)), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_lost_is_unknown_though_its_record_is_there() {
    let _turn = TURN.lock().await;
    let proxy = Proxy::start().await;
    let broker = Broker::start(Some(&proxy));
    let kafka = at(&broker.address());
    let direct = fresh(&kafka, 1).await;
    let through = KafkaConfig {
        bootstrap_servers: vec![proxy.address()],
        ..kafka
    };
    let log = open(&through, 1).await;
    assert_eq!(log.append(0, text(0)).await.unwrap(), 0);

    proxy.set(Mode::Deaf);
    unknown_in_time(&*log, 0, text(1)).await;
    let landed = contents(&*direct, 0, 0).await;
    assert!(landed.contains(&text(1)), "{landed:?}");

    proxy.set(Mode::Cut);
    proxy.set(Mode::Open);
    let offset = append_at_last(&*log, 0, text(2)).await;
    let all = contents(&*log, 0, 0).await;
    assert_eq!(all[offset as usize], text(2));
    assert!(all.starts_with(&landed), "what was read is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_loses_its_partitions_to_the_others() {
    const GROUP: &str = "flare-message-orchestrator";
    let _turn = TURN.lock().await;
    let proxy = Proxy::start().await;
    let broker = Broker::start(Some(&proxy));
    let kafka = at(&broker.address());
    let first = fresh(&kafka, 8).await;
    let through = KafkaConfig {
        bootstrap_servers: vec![proxy.address()],
        ..kafka
    };
    let second = open(&through, 8).await;
    let mut of_first = first.assignments(GROUP);
    let mut of_second = second.assignments(GROUP);
    for assigned in [&mut of_first, &mut of_second] {
        let half = timeout(PATIENCE, assigned.wait_for(|it| it.len() == 4)).await;
        half.unwrap().unwrap();
    }

    let cut = Instant::now();
    proxy.set(Mode::Cut);
    let all = timeout(PATIENCE, of_first.wait_for(|it| it.len() == 8)).await;
    all.expect("nobody took over").unwrap();
    let took = cut.elapsed();
    assert!(took < Duration::from_secs(15), "taken over after {took:?}");
    let lost = timeout(PATIENCE, of_second.wait_for(Vec::is_empty)).await;
    lost.expect("it does not know").unwrap();

    proxy.set(Mode::Open);
    for assigned in [&mut of_first, &mut of_second] {
        let half = timeout(PATIENCE, assigned.wait_for(|it| it.len() == 4)).await;
        half.expect("it did not come back").unwrap();
    }
}
