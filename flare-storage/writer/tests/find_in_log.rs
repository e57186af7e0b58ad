//! Where messages stand in the log, asked over gRPC, on the embedded log and store.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    message::{ConversationClass, EventHeader, EventKind},
    storage::{
        FindInLogRequest, FindInLogResponse, LogPresence,
        storage_writer_service_server::StorageWriterService,
    },
};
use flare_server_core::{
    clock::ManualClock,
    error::Refusal,
    log_file::{AsyncLogOptions, DiskLayer, LogOptions},
    message_log::{EmbeddedMessageLog, MessageLog},
    telemetry::Spans,
};
use flare_storage_model::{
    EmbeddedMessageStore, EmbeddedStoreOptions, LogRecord, LoggedEvent, fingerprint, flags,
    record::{self, Epoch},
};
use flare_storage_writer::{
    application::{
        around::{Around, Share},
        find_in_log::LogSearch,
        follow::{CommitListener, Follower},
    },
    domain::fold::Step,
    handler::grpc::Grpc,
};
use tempfile::TempDir;
use tonic::Request;
use ulid::Ulid;

const PARTITION: u32 = 0;
const START_MS: i64 = 1_700_000_000_000;

struct Nobody;

#[async_trait]
impl CommitListener for Nobody {
    async fn committed(&self, _: &Step) {}
}

/// A log with its writer, and what was appended to it.
struct Place {
    log: Arc<EmbeddedMessageLog>,
    store: Arc<EmbeddedMessageStore>,
    follower: Follower,
    grpc: Grpc,
    epoch: Epoch,
    n: u64,
    seq: u64,
    _folder: TempDir,
}

async fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(open_log(&folder.path().join("log")));
    let options = EmbeddedStoreOptions::default();
    let store = EmbeddedMessageStore::open(&folder.path().join("store"), options).unwrap();
    let store = Arc::new(store);
    let around = Around::new(
        log.clone(),
        store.clone(),
        Arc::new(ManualClock::at(START_MS)),
        Spans::default(),
        Share::new(1 << 20, 4 << 20),
    );
    let follower = Follower::open(PARTITION, Arc::new(around), Arc::new(Nobody), None);
    Place {
        grpc: Grpc {
            search: LogSearch::new(log.clone(), store.clone()),
        },
        follower: follower.await.unwrap(),
        log,
        store,
        epoch: Epoch {
            number: 0,
            nonce: 7,
        },
        n: 0,
        seq: 0,
        _folder: folder,
    }
}

fn open_log(folder: &Path) -> EmbeddedMessageLog {
    let options = AsyncLogOptions {
        log: LogOptions {
            segment_bytes: 16 << 10,
            ..LogOptions::default()
        },
        ..AsyncLogOptions::default()
    };
    EmbeddedMessageLog::open(Arc::new(DiskLayer), folder, options).unwrap()
}

impl Place {
    /// A new owner.
    async fn takeover(&mut self) {
        self.epoch.number += 1;
        self.n = 0;
        let owner = "test".to_owned();
        let record = LogRecord::Takeover {
            epoch: self.epoch,
            owner,
        };
        self.append(&record).await;
    }

    /// The conversation's next events, of this time.
    fn events(&mut self, time_ms: i64, count: u64) -> Vec<LoggedEvent> {
        let made = |seq: u64| {
            let header = EventHeader {
                tenant_id: "default".to_owned(),
                conversation_id: "general".to_owned(),
                seq,
                ordinal: seq,
                message_id: Ulid::from_parts(u64::try_from(time_ms).unwrap(), u128::from(seq))
                    .to_string(),
                sender_id: "alice".to_owned(),
                time_ms,
                kind: EventKind::MessageCreated.into(),
                flags: flags::COUNTABLE,
                class: ConversationClass::Group.into(),
                client_id: format!("c{seq}"),
                ..EventHeader::default()
            };
            let body = Bytes::from(vec![b'x'; 100]);
            LoggedEvent::create(header, body, fingerprint("general", b"x")).unwrap()
        };
        let first = self.seq + 1;
        self.seq += count;
        (first..=self.seq).map(made).collect()
    }

    /// The epoch's next group; its offset.
    async fn group(&mut self, events: Vec<LoggedEvent>) -> u64 {
        let record = LogRecord::Group {
            epoch: self.epoch,
            n: self.n,
            events,
        };
        self.n += 1;
        self.append(&record).await
    }

    async fn append(&self, record: &LogRecord) -> u64 {
        let bytes = record::encode(record).unwrap();
        self.log.append(PARTITION, bytes).await.unwrap()
    }

    async fn ask(&self, kind: ActorKind, tenant: &str, id: &str) -> Result<Found, Refusal> {
        let request = FindInLogRequest {
            context: Some(RequestContext {
                actor: Some(Actor {
                    kind: kind.into(),
                    ..Actor::default()
                }),
                tenant: Some(TenantContext {
                    tenant_id: tenant.to_owned(),
                }),
                ..RequestContext::default()
            }),
            message_id: id.to_owned(),
        };
        let answer = self.grpc.find_in_log(Request::new(request)).await?;
        let FindInLogResponse {
            presence,
            log_offset,
            event,
        } = answer.into_inner();
        let presence = LogPresence::try_from(presence).unwrap();
        Ok((presence, log_offset, event))
    }

    async fn find(&self, event: &LoggedEvent) -> Result<Found, Refusal> {
        let id = event.message_id().to_string();
        self.ask(ActorKind::System, "default", &id).await
    }
}

type Found = (LogPresence, Option<u64>, Bytes);

fn in_log(offset: u64, event: &LoggedEvent) -> Result<Found, Refusal> {
    Ok((LogPresence::InLog, Some(offset), event.event().clone()))
}

fn code(outcome: Result<Found, Refusal>) -> ErrorCode {
    outcome.unwrap_err().code
}

#[tokio::test]
async fn each_stored_message_is_found_in_its_record() {
    let mut place = place().await;
    let mut appended = Vec::new();
    for index in 0..120 {
        if index % 7 == 0 {
            place.takeover().await;
            place.takeover().await;
        }
        // Several records a millisecond, and pauses.
        let time_ms = START_MS + i64::from(index / 5) * 3;
        let events = place.events(time_ms, 1 + u64::from(index % 4 == 0) * 2);
        let offset = place.group(events.clone()).await;
        appended.extend(events.into_iter().map(|event| (offset, event)));
    }
    place.follower.catch_up().await.unwrap();
    for (offset, event) in &appended {
        assert_eq!(place.find(event).await, in_log(*offset, event));
    }
}

#[tokio::test]
async fn what_is_not_stored_yet_is_found_above_the_stores_cursor() {
    let mut place = place().await;
    place.takeover().await;
    let stored = place.events(START_MS, 1);
    place.group(stored).await;
    place.follower.catch_up().await.unwrap();

    let waiting = place.events(START_MS, 2);
    let offset = place.group(waiting.clone()).await;
    place.takeover().await;
    let last = place.events(START_MS + 5, 1);
    let last_offset = place.group(last.clone()).await;

    assert_eq!(place.find(&waiting[1]).await, in_log(offset, &waiting[1]));
    assert_eq!(place.find(&last[0]).await, in_log(last_offset, &last[0]));
    let nowhere = Ulid::from_parts(1, 1).to_string();
    let asked = place.ask(ActorKind::System, "default", &nowhere).await;
    assert_eq!(code(asked), ErrorCode::MessageNotFound);
}

#[tokio::test]
async fn a_group_without_effect_is_no_place() {
    let mut place = place().await;
    place.takeover().await;
    // Decided by one who is no owner any more when it gets there: nobody is told of it.
    let late = place.events(START_MS, 1);
    let record = LogRecord::Group {
        epoch: place.epoch,
        n: place.n,
        events: late.clone(),
    };
    place.takeover().await;
    place.append(&record).await;
    assert_eq!(
        code(place.find(&late[0]).await),
        ErrorCode::MessageNotFound,
        "not yet folded"
    );
    place.follower.catch_up().await.unwrap();
    assert_eq!(
        code(place.find(&late[0]).await),
        ErrorCode::MessageNotFound,
        "folded"
    );
}

#[tokio::test]
async fn of_a_trimmed_log_the_answer_says_so() {
    let mut place = place().await;
    place.takeover().await;
    let mut appended = Vec::new();
    for index in 0..100 {
        let events = place.events(START_MS + index, 1);
        let offset = place.group(events.clone()).await;
        appended.extend(events.into_iter().map(|event| (offset, event)));
    }
    place.follower.catch_up().await.unwrap();
    place.store.flush().await.unwrap();
    place.log.trim(PARTITION, 60, 60).await.unwrap();
    let floor = place.log.floor(PARTITION).await.unwrap();
    assert!((2..=60).contains(&floor), "several segments: {floor}");
    for (offset, event) in &appended {
        let ought = if *offset < floor {
            Ok((LogPresence::Trimmed, None, Bytes::new()))
        } else {
            in_log(*offset, event)
        };
        assert_eq!(place.find(event).await, ought, "offset {offset}");
    }
}

#[tokio::test]
async fn only_the_tenants_system_is_told() {
    let mut place = place().await;
    place.takeover().await;
    let stored = place.events(START_MS, 1);
    place.group(stored.clone()).await;
    place.follower.catch_up().await.unwrap();
    let waiting = place.events(START_MS, 1);
    place.group(waiting.clone()).await;
    for event in stored.iter().chain(&waiting) {
        let id = event.message_id().to_string();
        let foreign = place.ask(ActorKind::Service, "other", &id).await;
        assert_eq!(code(foreign), ErrorCode::MessageNotFound);
        for kind in [ActorKind::User, ActorKind::Api, ActorKind::Unspecified] {
            let refusal = place.ask(kind, "default", &id).await.expect_err("refused");
            assert_eq!(refusal.field, "context.actor.kind");
        }
    }
    let refusal = place.ask(ActorKind::System, "default", "x").await;
    assert_eq!(refusal.expect_err("refused").field, "message_id");
}
