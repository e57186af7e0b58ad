//! The follower on the embedded log and store.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::message::{ConversationClass, EventHeader, EventKind};
use flare_server_core::{
    clock::ManualClock,
    event_bus::TopicView,
    log_file::{AsyncLogOptions, DiskLayer},
    message_log::{EmbeddedMessageLog, MessageLog},
    readiness::Readiness,
    service::ServiceError,
    shutdown::Shutdown,
    telemetry::Spans,
};
use flare_storage_model::{
    ConversationKey, EmbeddedMessageStore, EmbeddedStoreOptions, LogRecord, LoggedEvent,
    MessageStore, fingerprint, flags,
    record::{self, Epoch},
};
use flare_storage_writer::{
    application::{
        around::{Around, Share},
        follow::{FollowError, Follower},
        partitions::{Halt, Partitions, Stream},
        trim::{Consumed, Trimmer},
    },
    domain::fold::FoldError,
    infrastructure::embedded_persisted_view::EmbeddedPersistedView,
};
use ulid::Ulid;

const PARTITION: u32 = 0;
const MINE: Epoch = Epoch {
    number: 1,
    nonce: 7,
};

fn event(conversation: &str, seq: u64) -> LoggedEvent {
    event_of(conversation, seq, Bytes::from(format!("body {seq}")))
}

fn event_of(conversation: &str, seq: u64, body: Bytes) -> LoggedEvent {
    let header = EventHeader {
        tenant_id: "default".to_owned(),
        conversation_id: conversation.to_owned(),
        seq,
        ordinal: seq,
        message_id: Ulid::from_parts(seq, u128::from(seq)).to_string(),
        sender_id: "alice".to_owned(),
        time_ms: 1_000 + i64::try_from(seq).unwrap(),
        kind: EventKind::MessageCreated.into(),
        flags: flags::COUNTABLE,
        class: ConversationClass::Group.into(),
        client_id: format!("c{seq}"),
        ..EventHeader::default()
    };
    LoggedEvent::create(header, body, fingerprint(conversation, b"x")).unwrap()
}

fn takeover(epoch: Epoch) -> Bytes {
    record::encode(&LogRecord::Takeover {
        epoch,
        owner: "test".to_owned(),
    })
    .unwrap()
}

fn group(epoch: Epoch, n: u64, events: Vec<LoggedEvent>) -> Bytes {
    record::encode(&LogRecord::Group { epoch, n, events }).unwrap()
}

struct Place {
    log: Arc<EmbeddedMessageLog>,
    store: Arc<EmbeddedMessageStore>,
    view: Arc<EmbeddedPersistedView>,
    follower: Follower,
}

async fn open(folder: &Path, view_memory_bytes: usize) -> Place {
    let log = EmbeddedMessageLog::open(
        Arc::new(DiskLayer),
        &folder.join("log"),
        AsyncLogOptions::default(),
    )
    .unwrap();
    let log = Arc::new(log);
    let store = Arc::new(
        EmbeddedMessageStore::open(&folder.join("store"), EmbeddedStoreOptions::default()).unwrap(),
    );
    let cursor = store.cursor(PARTITION).await.unwrap();
    let view = Arc::new(EmbeddedPersistedView::new(
        PARTITION,
        log.clone(),
        0,
        cursor,
        view_memory_bytes,
    ));
    let around = around(log.clone(), store.clone());
    let follower = Follower::open(PARTITION, around, view.clone(), None).await;
    Place {
        log,
        store,
        view,
        follower: follower.unwrap(),
    }
}

fn around(log: Arc<EmbeddedMessageLog>, store: Arc<EmbeddedMessageStore>) -> Arc<Around> {
    Arc::new(Around::new(
        log,
        store,
        Arc::new(ManualClock::at(2_000)),
        Spans::default(),
        Share::new(1 << 20, 4 << 20),
    ))
}

async fn append(log: &EmbeddedMessageLog, records: Vec<Bytes>) {
    for record in records {
        log.append(PARTITION, record).await.unwrap();
    }
}

async fn seqs(view: &EmbeddedPersistedView, mut from: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while from < view.end() {
        let read = view.read(from, 2).await.unwrap();
        for record in read.records {
            seqs.push(
                flare_storage_model::decode_header(record.payload)
                    .unwrap()
                    .seq,
            );
        }
        assert!(read.next > from, "a read moves on");
        from = read.next;
    }
    seqs
}

#[tokio::test]
async fn what_counts_is_stored_and_shown_and_what_does_not_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = open(folder.path(), 1 << 20).await;
    let stale = Epoch {
        number: 1,
        nonce: 8,
    };
    append(
        &place.log,
        vec![
            takeover(MINE),
            group(MINE, 0, vec![event("g", 1), event("g", 2)]),
            group(MINE, 0, vec![event("g", 1), event("g", 2)]),
            group(stale, 1, vec![event("g", 3)]),
            group(MINE, 1, vec![event("g", 3), event("h", 1)]),
        ],
    )
    .await;
    place.follower.catch_up().await.unwrap();
    let stored = place
        .store
        .range(&ConversationKey::new("default", "g"), 0, 10, 1 << 20)
        .await
        .unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2], event("g", 3).event());
    assert_eq!(seqs(&place.view, 0).await, [1, 2, 3, 1]);
}

#[tokio::test]
async fn the_stream_goes_on_from_the_log_after_a_restart_and_when_memory_is_short() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut place = open(folder.path(), 1 << 20).await;
        append(
            &place.log,
            vec![
                takeover(MINE),
                group(MINE, 0, vec![event("g", 1), event("g", 2)]),
            ],
        )
        .await;
        place.follower.catch_up().await.unwrap();
        place.log.close();
    }
    // So little memory that every event is read from the log.
    let mut place = open(folder.path(), 1).await;
    let next = Epoch {
        number: 2,
        nonce: 9,
    };
    append(
        &place.log,
        vec![takeover(next), group(next, 0, vec![event("g", 3)])],
    )
    .await;
    place.follower.catch_up().await.unwrap();
    assert_eq!(seqs(&place.view, 0).await, [1, 2, 3]);
    let after_first = 1024 + 1;
    assert_eq!(seqs(&place.view, after_first).await, [2, 3]);
}

#[tokio::test]
async fn one_read_is_bounded_by_bytes_in_memory_as_in_the_log() {
    const BODY: usize = 60_000;
    const EVENTS: u64 = 40;
    for view_memory_bytes in [8 << 20, 1] {
        let folder = tempfile::tempdir().unwrap();
        let mut place = open(folder.path(), view_memory_bytes).await;
        append(&place.log, vec![takeover(MINE)]).await;
        for seq in 1..=EVENTS {
            let large = event_of("g", seq, Bytes::from(vec![b'x'; BODY]));
            append(&place.log, vec![group(MINE, seq - 1, vec![large])]).await;
        }
        place.follower.catch_up().await.unwrap();
        let (mut from, mut reads, mut seen) = (0, 0, 0);
        while from < place.view.end() {
            let read = place.view.read(from, 4_096).await.unwrap();
            let bytes: usize = read.records.iter().map(|it| it.payload.len()).sum();
            assert!(bytes <= 1 << 20, "{bytes}");
            seen += read.records.len() as u64;
            reads += 1;
            from = read.next;
        }
        assert_eq!(seen, EVENTS);
        assert!((3..=4).contains(&reads), "{reads}");
    }
}

#[tokio::test]
async fn a_hole_in_a_conversation_stops_the_partition() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = open(folder.path(), 1 << 20).await;
    append(
        &place.log,
        vec![
            takeover(MINE),
            group(MINE, 0, vec![event("g", 1), event("g", 3)]),
        ],
    )
    .await;
    let error = place.follower.catch_up().await.unwrap_err();
    assert!(
        matches!(
            error,
            FollowError::Fold(FoldError::Broken { offset: 1, .. })
        ),
        "{error}"
    );
    let stored = place
        .store
        .range(&ConversationKey::new("default", "g"), 0, 10, 1 << 20)
        .await
        .unwrap();
    assert!(stored.is_empty(), "nothing of the batch is stored");
}

#[tokio::test]
async fn a_record_that_does_not_decode_stops_the_partition() {
    let folder = tempfile::tempdir().unwrap();
    let mut place = open(folder.path(), 1 << 20).await;
    append(&place.log, vec![Bytes::from_static(&[99, 1, 2])]).await;
    let error = place.follower.catch_up().await.unwrap_err();
    assert!(
        matches!(
            error,
            FollowError::Fold(FoldError::Undecodable { offset: 0, .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_log_that_ends_before_the_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut place = open(folder.path(), 1 << 20).await;
        append(
            &place.log,
            vec![takeover(MINE), group(MINE, 0, vec![event("g", 1)])],
        )
        .await;
        place.follower.catch_up().await.unwrap();
        place.store.flush().await.unwrap();
        place.log.close();
    }
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    let log = EmbeddedMessageLog::open(
        Arc::new(DiskLayer),
        &folder.path().join("log"),
        AsyncLogOptions::default(),
    );
    let log = Arc::new(log.unwrap());
    let store = EmbeddedMessageStore::open(
        &folder.path().join("store"),
        EmbeddedStoreOptions::default(),
    )
    .unwrap();
    let store = Arc::new(store);
    let cursor = store.cursor(PARTITION).await.unwrap();
    let view = Arc::new(EmbeddedPersistedView::new(
        PARTITION,
        log.clone(),
        0,
        cursor,
        1 << 20,
    ));
    let opened = Follower::open(PARTITION, around(log, store), view, None).await;
    assert!(matches!(
        opened,
        Err(FollowError::LogEndsBeforeStore {
            durable_end: 0,
            cursor: 2,
            ..
        })
    ));
}

struct NoConsumers;

#[async_trait]
impl Consumed for NoConsumers {
    async fn needed_from(&self, _: u32) -> Result<Option<u64>, ServiceError> {
        Ok(None)
    }

    async fn trimmed(&self, _: u32) -> Result<(), ServiceError> {
        Ok(())
    }
}

/// What a process does that has the log for itself.
fn partitions(place: &Place, readiness: &Readiness) -> Partitions {
    let around = around(place.log.clone(), place.store.clone());
    let interval = Duration::from_secs(1);
    let trimmer = Trimmer::new(around.clone(), Arc::new(NoConsumers), interval);
    Partitions::new(
        around,
        Stream::View(place.view.clone()),
        Arc::new(trimmer),
        readiness.register("storage-writer"),
    )
}

#[tokio::test]
async fn a_process_that_has_the_log_for_itself_applies_all_of_it_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let place = open(folder.path(), 1 << 20).await;
    append(
        &place.log,
        vec![takeover(MINE), group(MINE, 0, vec![event("g", 1)])],
    )
    .await;
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
    let mut partitions = partitions(&place, &readiness);
    assert!(!readiness.is_ready());
    partitions.catch_up().await.unwrap();
    assert!(readiness.is_ready());
    assert_eq!(seqs(&place.view, 0).await, [1]);
    append(&place.log, vec![group(MINE, 1, vec![event("g", 2)])]).await;
    shutdown.drain();
    append(&place.log, vec![group(MINE, 2, vec![event("g", 3)])]).await;
    partitions.run(&shutdown).await.unwrap();
    assert_eq!(seqs(&place.view, 0).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_process_that_has_the_log_for_itself_ends_with_its_partition() {
    let folder = tempfile::tempdir().unwrap();
    let place = open(folder.path(), 1 << 20).await;
    let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
    let mut partitions = partitions(&place, &readiness);
    partitions.catch_up().await.unwrap();
    append(&place.log, vec![Bytes::from_static(&[99, 1, 2])]).await;
    let halt = partitions.run(&shutdown).await.unwrap_err();
    let Halt::Follow(error) = halt else {
        panic!("{halt}")
    };
    assert!(
        matches!(
            *error,
            FollowError::Fold(FoldError::Undecodable { offset: 0, .. })
        ),
        "{error}"
    );
    let next = self::partitions(&place, &readiness).catch_up().await;
    assert!(next.is_err(), "it does not start either");
}
