//! The service in a process with a bus, beside services that are played.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flare_proto::{
    common::ErrorCode,
    message::{
        self, Event, EventHeader, EventKind, ReceiptBatch, SubmitBatch, SubmitItem,
        message_orchestrator_service_server::{
            MessageOrchestratorService, MessageOrchestratorServiceServer,
        },
        receipt, submit_item,
    },
    push::{
        SignalRequest, SignalResponse,
        push_scheduler_service_server::{PushSchedulerService, PushSchedulerServiceServer},
    },
    session::{
        CreateConversationRequest, SyncInboxRequest, SyncInboxResponse,
        session_service_client::SessionServiceClient,
    },
    storage::{
        self, HeadsRequest, HeadsResponse, HistoryRequest, HistoryResponse, LocateRequest,
        LocateResponse, RangeResult, ReadRangesRequest, ReadRangesResponse, SnapshotRequest,
        SnapshotResponse, history_request,
        storage_reader_service_server::{StorageReaderService, StorageReaderServiceServer},
    },
};
use flare_server_core::{
    channels::ServiceChannel,
    error::Refusal,
    event_bus::{EmbeddedBusOptions, EmbeddedEventBus, EventBus},
    log_file::DiskLayer,
    message_log::MessageLog,
    owners::{Directory, Owner, Owners},
    platform::{Adapters, Platform, PlatformParts},
    registry::{StaticRegistry, service},
    servers::Shape,
    service::{Parts, ServiceError},
    shutdown::Shutdown,
};
use flare_session::{SessionConfig, build, handler::events::TOPIC};
use flare_storage_model::flags;
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};
use tonic::{Request, Response, Status, service::Routes};

use super::{
    fake_log::{TENANT, encode},
    world::{DEADLINE, answer, user},
};

/// The other services: an orchestrator that places what comes, a reader of it, and push-server's ear.
#[derive(Clone, Default)]
pub(crate) struct Others {
    pub(crate) events: Arc<Mutex<Vec<EventHeader>>>,
    lines: Arc<Mutex<HashMap<String, message::Placed>>>,
    pub(crate) heads_told: Arc<AtomicUsize>,
    /// So many more batches are refused by an orchestrator that does not own the partition.
    pub(crate) disowns: Arc<AtomicUsize>,
    /// While it is so, nothing that is submitted is answered.
    pub(crate) holds: Arc<watch::Sender<bool>>,
    /// How many events there are.
    pub(crate) events_told: Arc<watch::Sender<usize>>,
    pub(crate) signals: Arc<Mutex<Vec<flare_proto::push::SignalItem>>>,
}

impl Others {
    pub(crate) async fn place(
        &self,
        conversation: &str,
        sender: &str,
        kind: EventKind,
        bits: u32,
    ) -> EventHeader {
        let header = EventHeader {
            conversation_id: conversation.into(),
            sender_id: sender.into(),
            kind: kind.into(),
            flags: bits,
            class: message::ConversationClass::Group.into(),
            ..EventHeader::default()
        };
        self.place_header(header).await
    }

    /// Gives an event its place.
    pub(crate) async fn place_header(&self, header: EventHeader) -> EventHeader {
        let mut events = self.events.lock().await;
        let last = events
            .iter()
            .rfind(|it| it.conversation_id == header.conversation_id);
        let is_countable = header.flags & flags::COUNTABLE != 0;
        let header = EventHeader {
            tenant_id: TENANT.into(),
            seq: last.map_or(0, |it| it.seq) + 1,
            ordinal: last.map_or(0, |it| it.ordinal) + u64::from(is_countable),
            message_id: format!("{:026}", events.len()),
            time_ms: 1_000 + events.len() as i64,
            ..header
        };
        events.push(header.clone());
        self.events_told.send_replace(events.len());
        header
    }

    async fn submit_item(&self, item: SubmitItem) -> message::Placed {
        if let Some(placed) = self.lines.lock().await.get(&item.client_id) {
            return message::Placed {
                duplicate: true,
                ..placed.clone()
            };
        }
        let Some(submit_item::Command::Change(change)) = item.command else {
            panic!("flare-session submits changes only");
        };
        let header = EventHeader {
            conversation_id: item.conversation_id,
            sender_id: item.actor.map(|it| it.user_id).unwrap_or_default(),
            kind: change.kind,
            flags: flags::MEMBERSHIP,
            class: message::ConversationClass::Group.into(),
            client_id: item.client_id.clone(),
            ..EventHeader::default()
        };
        let header = self.place_header(header).await;
        let placed = message::Placed {
            conversation_id: header.conversation_id,
            message_id: header.message_id,
            seq: header.seq,
            ordinal: header.ordinal,
            time_ms: header.time_ms,
            duplicate: false,
        };
        self.lines
            .lock()
            .await
            .insert(item.client_id, placed.clone());
        placed
    }
}

#[tonic::async_trait]
impl MessageOrchestratorService for Others {
    type SubmitStream = futures::stream::Empty<Result<ReceiptBatch, Status>>;

    async fn submit(
        &self,
        _: Request<tonic::Streaming<SubmitBatch>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn submit_once(
        &self,
        request: Request<SubmitBatch>,
    ) -> Result<Response<ReceiptBatch>, Status> {
        let free = self
            .holds
            .subscribe()
            .wait_for(|holds| !holds)
            .await
            .is_ok();
        assert!(free, "its sender lives");
        let mut receipts = Vec::new();
        for item in request.into_inner().items {
            let correlation = item.correlation;
            let disowns = self.disowns.load(Ordering::SeqCst);
            let result = if disowns > 0 {
                self.disowns.store(disowns - 1, Ordering::SeqCst);
                let refusal = Refusal::new(ErrorCode::NotOwner, "owned elsewhere");
                receipt::Result::Error(refusal.into())
            } else {
                receipt::Result::Placed(self.submit_item(item).await)
            };
            receipts.push(message::Receipt {
                correlation,
                result: Some(result),
                ..message::Receipt::default()
            });
        }
        Ok(Response::new(ReceiptBatch { receipts }))
    }
}

#[tonic::async_trait]
impl StorageReaderService for Others {
    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let events = self.events.lock().await;
        let request = request.into_inner();
        let with_last_messages = !request.without_last_messages;
        let head = |id: String| {
            let newest = events.iter().rfind(|it| it.conversation_id == id)?;
            let last = events
                .iter()
                .rfind(|it| it.conversation_id == id && it.flags & flags::COUNTABLE != 0);
            Some(storage::Head {
                conversation_id: id,
                seq: newest.seq,
                ordinal: newest.ordinal,
                time_ms: newest.time_ms,
                last_message: last
                    .filter(|_| with_last_messages)
                    .map(large)
                    .unwrap_or_default(),
                ..storage::Head::default()
            })
        };
        // Larger than an answer may be together: one at a time.
        let first = request.conversation_ids.into_iter().next();
        self.heads_told.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(HeadsResponse {
            answered: first.iter().count() as u32,
            heads: first.and_then(head).into_iter().collect(),
        }))
    }

    async fn read_ranges(
        &self,
        request: Request<ReadRangesRequest>,
    ) -> Result<Response<ReadRangesResponse>, Status> {
        let events = self.events.lock().await;
        let range = |range: storage::ReadRange| RangeResult {
            events: events
                .iter()
                .filter(|it| {
                    it.conversation_id == range.conversation_id && it.seq > range.after_seq
                })
                .take(range.limit.unwrap_or(50) as usize)
                .map(encode)
                .collect(),
            conversation_id: range.conversation_id,
            ..RangeResult::default()
        };
        let ranges = request.into_inner().ranges.into_iter().map(range).collect();
        Ok(Response::new(ReadRangesResponse { ranges }))
    }

    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        let request = request.into_inner();
        let Some(history_request::Position::BeforeSeq(before)) = request.position else {
            return Err(Status::invalid_argument("before_seq"));
        };
        let events = self.events.lock().await;
        let last = events.iter().rfind(|it| {
            it.conversation_id == request.conversation_id
                && it.seq < before
                && it.flags & flags::COUNTABLE != 0
        });
        let message = |it| storage::Message {
            event: encode(it),
            ..storage::Message::default()
        };
        Ok(Response::new(HistoryResponse {
            messages: last.map(message).into_iter().collect(),
            ..Default::default()
        }))
    }

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<SnapshotResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }

    async fn locate(&self, _: Request<LocateRequest>) -> Result<Response<LocateResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }
}

#[tonic::async_trait]
impl PushSchedulerService for Others {
    async fn signal(
        &self,
        request: Request<SignalRequest>,
    ) -> Result<Response<SignalResponse>, Status> {
        self.signals.lock().await.extend(request.into_inner().items);
        Ok(Response::new(SignalResponse {}))
    }
}

/// The event, with a body of more than gRPC decodes unless told to.
fn large(header: &EventHeader) -> Bytes {
    let event = Event {
        header: Some(header.clone()),
        body: Bytes::from(vec![b'x'; 5 << 20]),
    };
    prost::Message::encode_to_vec(&event).into()
}

struct Embedded(std::path::PathBuf);

#[async_trait::async_trait]
impl Adapters for Embedded {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        Err("flare-session has no business with the log".into())
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        let bus = EmbeddedEventBus::open(
            Arc::new(DiskLayer),
            &self.0.join("bus"),
            EmbeddedBusOptions {
                keep_cursor_every: Duration::from_millis(10),
                ..EmbeddedBusOptions::default()
            },
        )?;
        Ok(Arc::new(bus))
    }

    async fn close(&self) -> Result<(), ServiceError> {
        Ok(())
    }
}

pub(crate) struct Process {
    pub(crate) platform: Platform,
    tasks: JoinSet<()>,
    pub(crate) client: SessionServiceClient<ServiceChannel>,
}

impl Process {
    pub(crate) async fn start(folder: &TempDir, others: &Others) -> Self {
        Self::with(folder, others, &SessionConfig::default()).await
    }

    pub(crate) async fn with(folder: &TempDir, others: &Others, config: &SessionConfig) -> Self {
        let folder = folder.path().to_owned();
        let adapters = Box::new(Embedded(folder.clone()));
        let build = async |platform: &Platform| build(config, platform).await;
        Self::built(folder, adapters, others, build).await
    }

    /// One on these adapters, whose service is built so.
    pub(crate) async fn built(
        data: PathBuf,
        adapters: Box<dyn Adapters>,
        others: &Others,
        build: impl AsyncFnOnce(&Platform) -> Result<Parts, ServiceError>,
    ) -> Self {
        let platform = Platform::new(PlatformParts {
            shape: Shape::Embedded,
            data,
            adapters,
            registry: Arc::new(StaticRegistry::default()),
            peer_secret: None,
            peer_tls: None,
            addresses: Default::default(),
            edge: None,
            development_sign_in: false,
            shutdown: Shutdown::new(),
            spans: Default::default(),
            listeners: HashMap::new(),
        });
        // The log's one partition is owned in this process.
        let owner = Owner {
            epoch: 1,
            endpoint: "".into(),
        };
        let directory = Arc::new(Directory::of([Some(owner)]));
        let owners = Owners::shown(watch::channel(directory).1);
        let shared = platform.once(async move || Ok(owners)).await;
        drop(shared.expect("the first"));
        let parts = build(&platform).await.expect("builds");
        let mut router = Routes::new(MessageOrchestratorServiceServer::new(others.clone()))
            .add_service(StorageReaderServiceServer::new(others.clone()))
            .add_service(PushSchedulerServiceServer::new(others.clone()))
            .into_axum_router();
        for routes in parts.routes {
            router = router.merge(routes.into_axum_router().reset_fallback());
        }
        let mut services = parts.services;
        services.extend([
            service::ORCHESTRATOR,
            service::STORAGE_READER,
            service::PUSH_SERVER,
        ]);
        platform
            .channels
            .serve_local(Routes::from(router), services, None);
        let mut tasks = JoinSet::new();
        for task in parts.tasks {
            tasks.spawn(async move { task.run.await.expect("no error") });
        }
        platform.readiness.all_ready().await.expect("gets ready");
        let client = SessionServiceClient::new(platform.channels.get(service::SESSION))
            .max_decoding_message_size(usize::MAX);
        Self {
            platform,
            tasks,
            client,
        }
    }

    /// Publishes events as one batch.
    pub(crate) async fn publish(&self, events: &[EventHeader]) {
        let bus = self.platform.event_bus().await.expect("opens");
        let records = events
            .iter()
            .map(|it| (Bytes::from(it.conversation_id.clone()), encode(it)));
        bus.publish_batch(TOPIC, records.collect())
            .await
            .expect("publishes");
    }

    pub(crate) async fn create(&self, conversation: &str) {
        let request = CreateConversationRequest {
            context: user("olga"),
            client_id: format!("create-{conversation}"),
            conversation_id: conversation.into(),
            member_ids: vec!["mia".into()],
            ..CreateConversationRequest::default()
        };
        answer(self.client.clone().create_conversation(request).await).expect("creates");
    }

    pub(crate) async fn sync(&self, who: &str, token: &str) -> SyncInboxResponse {
        let request = SyncInboxRequest {
            context: user(who),
            token: token.into(),
            page_size: None,
        };
        answer(self.client.clone().sync_inbox(request).await).expect("answers")
    }

    /// Its folder as it stands, as a process finds it that follows a kill.
    pub(crate) fn folder_of_a_kill(&self, folder: &TempDir) -> TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        copy_folder(folder.path(), copy.path());
        copy
    }

    pub(crate) async fn stop(mut self) {
        self.drain().await;
        self.end().await;
    }

    /// Its tasks end; requests are answered still.
    pub(crate) async fn drain(&mut self) {
        self.platform.shutdown.drain();
        let ended = async {
            while self
                .tasks
                .join_next()
                .await
                .transpose()
                .expect("no panic")
                .is_some()
            {}
        };
        tokio::time::timeout(DEADLINE, ended).await.expect("drains");
    }

    /// After the last request.
    pub(crate) async fn end(self) {
        for ending in self.platform.endings() {
            ending.run.await.expect("no error");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes a folder");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("has a type").is_dir() {
            true => copy_folder(&from, &to),
            false => drop(std::fs::copy(from, to).expect("copies")),
        }
    }
}
