//! The service as a process composes it: over gRPC, on the embedded bus, with tasks that start and drain.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use flare_proto::{
    client,
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
        signal_item,
    },
    session::{
        CreateConversationRequest, LeaveConversationRequest, MarkReadRequest, SyncInboxRequest,
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
    event_bus::{EmbeddedBusOptions, EmbeddedEventBus, EventBus},
    log_file::DiskLayer,
    message_log::MessageLog,
    platform::{Adapters, Platform, PlatformParts},
    registry::{StaticRegistry, service},
    service::ServiceError,
    shutdown::Shutdown,
};
use flare_session::{SessionConfig, build, handler::events::TOPIC};
use flare_storage_model::flags;
use tempfile::TempDir;
use tokio::{sync::Mutex, task::JoinSet};
use tonic::{Request, Response, Status, service::Routes};

use super::{
    fake_log::{TENANT, encode},
    world::{DEADLINE, answer, until, user},
};

/// The other services: an orchestrator that places what comes, a reader of it, and push-server's ear.
#[derive(Clone, Default)]
struct Others {
    events: Arc<Mutex<Vec<EventHeader>>>,
    lines: Arc<Mutex<HashMap<String, message::Placed>>>,
    signals: Arc<Mutex<Vec<flare_proto::push::SignalItem>>>,
}

impl Others {
    async fn place(
        &self,
        conversation: &str,
        sender: &str,
        kind: EventKind,
        bits: u32,
    ) -> EventHeader {
        let mut events = self.events.lock().await;
        let last = events.iter().rfind(|it| it.conversation_id == conversation);
        let header = EventHeader {
            tenant_id: TENANT.into(),
            conversation_id: conversation.into(),
            seq: last.map_or(0, |it| it.seq) + 1,
            ordinal: last.map_or(0, |it| it.ordinal) + u64::from(bits & flags::COUNTABLE),
            message_id: format!("{:026}", events.len()),
            sender_id: sender.into(),
            time_ms: 1_000,
            kind: kind.into(),
            flags: bits,
            class: message::ConversationClass::Group.into(),
            ..EventHeader::default()
        };
        events.push(header.clone());
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
        let sender = item.actor.map(|it| it.user_id).unwrap_or_default();
        let header = self
            .place(
                &item.conversation_id,
                &sender,
                change.kind(),
                flags::MEMBERSHIP,
            )
            .await;
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
        let mut receipts = Vec::new();
        for item in request.into_inner().items {
            let correlation = item.correlation;
            let placed = self.submit_item(item).await;
            receipts.push(message::Receipt {
                correlation,
                result: Some(receipt::Result::Placed(placed)),
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
        let answered = request.conversation_ids.len() as u32;
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
                last_message: last.map(encode).unwrap_or_default(),
                ..storage::Head::default()
            })
        };
        let heads = request
            .conversation_ids
            .into_iter()
            .filter_map(head)
            .collect();
        Ok(Response::new(HeadsResponse { heads, answered }))
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
            EmbeddedBusOptions::default(),
        )?;
        Ok(Arc::new(bus))
    }
}

struct Process {
    platform: Platform,
    tasks: JoinSet<()>,
    client: SessionServiceClient<ServiceChannel>,
}

impl Process {
    async fn start(folder: &TempDir, others: &Others) -> Self {
        let platform = Platform::new(PlatformParts {
            data: folder.path().to_owned(),
            adapters: Box::new(Embedded(folder.path().to_owned())),
            registry: Arc::new(StaticRegistry::default()),
            peer_secret: None,
            endpoint: None,
            shutdown: Shutdown::new(),
            spans: Default::default(),
            listeners: HashMap::new(),
        });
        let parts = build(&SessionConfig::default(), &platform)
            .await
            .expect("builds");
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
        let client = SessionServiceClient::new(platform.channels.get(service::SESSION));
        Self {
            platform,
            tasks,
            client,
        }
    }

    async fn publish(&self, header: &EventHeader) {
        let bus = self.platform.event_bus().await.expect("opens");
        bus.publish(
            TOPIC,
            Bytes::from(header.conversation_id.clone()),
            encode(header),
        )
        .await
        .expect("publishes");
    }

    async fn stop(mut self) {
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
        for ending in self.platform.endings() {
            ending.run.await.expect("no error");
        }
    }
}

#[tokio::test]
async fn it_serves_reads_the_stream_and_goes_on_after_a_restart() {
    let (folder, others) = (tempfile::tempdir().expect("a folder"), Others::default());
    let process = Process::start(&folder, &others).await;
    let mut client = process.client.clone();
    let request = CreateConversationRequest {
        context: user("olga"),
        client_id: "c1".into(),
        conversation_id: "team".into(),
        member_ids: vec!["mia".into()],
        ..CreateConversationRequest::default()
    };
    answer(client.create_conversation(request).await).expect("creates");
    let created = others.events.lock().await[0].clone();
    assert_eq!(
        (created.kind(), created.sender_id.as_str()),
        (EventKind::ConversationCreated, "olga")
    );
    process.publish(&created).await;
    for _ in 0..3 {
        let said = others
            .place("team", "olga", EventKind::MessageCreated, flags::COUNTABLE)
            .await;
        process.publish(&said).await;
    }
    let sync = async |client: &mut SessionServiceClient<ServiceChannel>, token: &str| {
        let request = SyncInboxRequest {
            context: user("mia"),
            token: token.into(),
            page_size: None,
        };
        answer(client.sync_inbox(request).await).expect("answers")
    };
    until("the stream has brought everything", async || {
        sync(&mut client.clone(), "")
            .await
            .entries
            .first()
            .is_some_and(|it| it.head_seq == 4)
    })
    .await;
    let marking = MarkReadRequest {
        context: user("mia"),
        conversation_id: "team".into(),
        seq: 2,
    };
    assert_eq!(
        answer(client.mark_read(marking).await).map(|it| it.unread_count),
        Ok(2)
    );
    until("the mark is told", async || {
        others.signals.lock().await.iter().any(|it| {
            let own = matches!(it.audience, Some(signal_item::Audience::OwnDevices(_)));
            let read = it.signal.as_ref().and_then(|it| it.signal);
            own && read == Some(client::signal::Signal::Read(client::ReadMark { seq: 2 }))
        })
    })
    .await;
    let mut page = sync(&mut client, "").await;
    assert_eq!(
        (page.entries[0].head_seq, page.entries[0].unread_count),
        (4, 2)
    );
    while page.has_more {
        page = sync(&mut client, &page.token).await;
    }
    process.stop().await;

    let process = Process::start(&folder, &others).await;
    let mut client = process.client.clone();
    let request = LeaveConversationRequest {
        context: user("mia"),
        client_id: "c2".into(),
        conversation_id: "team".into(),
    };
    assert_eq!(
        answer(client.leave_conversation(request).await).map(|it| it.seq),
        Ok(5)
    );
    let page = sync(&mut client, &page.token).await;
    let entry = &page.entries[0];
    assert_eq!(
        (entry.head_seq, entry.read_seq, entry.unread_count),
        (5, 2, 2)
    );
    let last = <Event as prost::Message>::decode(entry.last_message.clone()).expect("an event");
    assert_eq!(last.header.map(|it| it.seq), Some(4));
    process.stop().await;
}
