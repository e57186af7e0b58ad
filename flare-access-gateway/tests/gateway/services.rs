//! The other services, played: each notes what it is asked and answers as it is told.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{online::Online, router::RouterPlayed, wire::Raw};
use axum::{Router, routing::any};
use bytes::Bytes;
use flare_proto::{
    common::{self, ErrorCode},
    message::{
        Placed, Receipt, ReceiptBatch, SubmitBatch, SubmitItem,
        message_orchestrator_service_server::{
            MessageOrchestratorService, MessageOrchestratorServiceServer,
        },
        receipt,
    },
    push, session,
    signaling::router_service_server::RouterServiceServer,
};
use flare_server_core::{error::Refusal, registry::service};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

/// A large conversation's id, since when a user is in it, and as of when that is said.
pub(crate) type LargePlace = (String, u64, u64);

/// What the played services know and were told.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) online: Online,
    pub(crate) orchestrator: Arc<Orchestrator>,
    pub(crate) calls: Mutex<Vec<(String, Bytes)>>,
    pub(crate) answers: Mutex<HashMap<String, Bytes>>,
    /// Calls of services wait until this is true.
    pub(crate) calls_go_on: watch::Sender<bool>,
    pub(crate) positions: Mutex<Vec<session::DeliveredPosition>>,
    pub(crate) signals: Mutex<Vec<push::SignalItem>>,
    pub(crate) session_is_away: AtomicBool,
    pub(crate) router: Arc<crate::router::Router>,
    /// By user: his large conversations, since when he is in each, and as of when.
    pub(crate) large: Mutex<HashMap<String, Vec<LargePlace>>>,
    /// Questions for them.
    pub(crate) large_questions: AtomicUsize,
    /// They wait until this is false.
    pub(crate) holds_large: watch::Sender<bool>,
    /// Users whose next answer is not complete.
    pub(crate) incomplete: Mutex<HashSet<String>>,
}

/// Places commands as they come, unless told otherwise; keeps lanes and duplicates as the real one does.
#[derive(Default)]
pub(crate) struct Orchestrator {
    /// Every item that came, by stream.
    pub(crate) seen: Mutex<Vec<(usize, SubmitItem)>>,
    /// Client ids to be refused once, with a code.
    pub(crate) refuse_once: Mutex<HashMap<String, ErrorCode>>,
    /// What is placed: (conversation, sender, client id) → seq.
    pub(crate) placed: Mutex<HashMap<(String, String, String), u64>>,
    pub(crate) order: Mutex<Vec<String>>,
    /// Receipts wait until this is true.
    pub(crate) answers: watch::Sender<bool>,
    /// The stream breaks where it comes to this client id, with receipts for those before.
    pub(crate) breaks_at: Mutex<HashSet<String>>,
    /// Receipts stay back until this client id was decided; then the stream breaks, and they are lost.
    pub(crate) loses_up_to: Mutex<Option<String>>,
    pub(crate) streams: AtomicUsize,
    pub(crate) is_away: AtomicBool,
    /// Which of several processes owns the log; they share all else, as they would by the log.
    pub(crate) owner: AtomicUsize,
    /// What those that do not own it say of who does.
    pub(crate) hint: Mutex<String>,
}

impl Orchestrator {
    /// Whether receipts stay back, and whether they are lost now.
    fn loses(&self, items: &[SubmitItem]) -> (bool, bool) {
        let mut up_to = self.loses_up_to.lock().expect("locks");
        let is_lost = items
            .iter()
            .any(|it| up_to.as_ref().is_some_and(|id| *id == it.client_id));
        let stay_back = up_to.is_some();
        if is_lost {
            *up_to = None;
        }
        (stay_back, is_lost)
    }

    fn decide(
        &self,
        process: usize,
        item: &SubmitItem,
        broken: &mut HashMap<u64, u32>,
    ) -> receipt::Result {
        let refused = |code| receipt::Result::Error(Refusal::new(code, "refused in a test").into());
        if broken
            .get(&item.lane)
            .is_some_and(|generation| item.lane_generation <= *generation)
        {
            return refused(ErrorCode::RetryInOrder);
        }
        if self.owner.load(Ordering::SeqCst) != process {
            broken.insert(item.lane, item.lane_generation);
            return refused(ErrorCode::NotOwner);
        }
        if let Some(code) = self
            .refuse_once
            .lock()
            .expect("locks")
            .remove(&item.client_id)
        {
            if flare_server_core::error::is_retryable(code) {
                broken.insert(item.lane, item.lane_generation);
            }
            return refused(code);
        }
        let conversation = format!("{}{}", item.conversation_id, item.peer_user_id);
        let actor = item.actor.clone().unwrap_or_default();
        let mut placed = self.placed.lock().expect("locks");
        let mut order = self.order.lock().expect("locks");
        let next = order.len() as u64 + 1;
        let key = (conversation.clone(), actor.user_id, item.client_id.clone());
        let seq = *placed.entry(key).or_insert(next);
        let duplicate = seq != next;
        if !duplicate {
            order.push(item.client_id.clone());
        }
        receipt::Result::Placed(Placed {
            conversation_id: conversation,
            message_id: format!("m{seq}"),
            seq,
            ordinal: seq,
            time_ms: 1,
            duplicate,
        })
    }
}

/// One of the processes.
pub(crate) struct OrchestratorService(pub(crate) Arc<Orchestrator>, pub(crate) usize);

#[tonic::async_trait]
impl MessageOrchestratorService for OrchestratorService {
    type SubmitStream = ReceiverStream<Result<ReceiptBatch, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitBatch>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let (world, process) = (Arc::clone(&self.0), self.1);
        if world.is_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the orchestrator is away"));
        }
        let stream = world.streams.fetch_add(1, Ordering::SeqCst) + 1;
        let mut batches = request.into_inner();
        let (receipts, answered) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut answers = world.answers.subscribe();
            let mut broken = HashMap::new();
            while let Ok(Some(batch)) = batches.message().await {
                let mut items = batch.items;
                let seen = items.iter().map(|item| (stream, item.clone()));
                world.seen.lock().expect("locks").extend(seen);
                let breaking = items.iter().position(|item| {
                    world
                        .breaks_at
                        .lock()
                        .expect("locks")
                        .remove(&item.client_id)
                });
                items.truncate(breaking.unwrap_or(items.len()));
                if answers.wait_for(|go| *go).await.is_err() {
                    return;
                }
                let answer = items.iter().map(|item| Receipt {
                    correlation: item.correlation,
                    result: Some(world.decide(process, item, &mut broken)),
                    owner_endpoint: world.hint.lock().expect("locks").clone(),
                });
                let batch = ReceiptBatch {
                    receipts: answer.collect(),
                };
                let (stay_back, is_lost) = world.loses(&items);
                if !stay_back && receipts.send(Ok(batch)).await.is_err() {
                    return;
                }
                if breaking.is_some() || is_lost {
                    let _ = receipts
                        .send(Err(Status::unavailable("broken in a test")))
                        .await;
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn submit_once(&self, _: Request<SubmitBatch>) -> Result<Response<ReceiptBatch>, Status> {
        Err(Status::unimplemented("not used by the gateway"))
    }
}

impl World {
    async fn answer(&self, method: String, request: Bytes) -> Result<Bytes, Status> {
        let (service, name) = method.split_once('/').expect("a method");
        match (service, name) {
            (
                "flare.signaling.v1.SignalingService",
                "RenewLease" | "RegisterBatch" | "UnregisterBatch",
            ) => self.online.answer(name, request).await,
            ("flare.session.v1.SessionService", "PutPositions") => {
                if self.session_is_away.load(Ordering::SeqCst) {
                    return Err(Status::unavailable("session is away"));
                }
                let request = session::PutPositionsRequest::decode(request).expect("decodes");
                self.positions
                    .lock()
                    .expect("locks")
                    .extend(request.positions);
                Ok(Bytes::new())
            }
            ("flare.session.v1.SessionService", "LargeConversations") => {
                self.large_conversations(request).await
            }
            ("flare.push.v1.PushSchedulerService", "Signal") => {
                let request = push::SignalRequest::decode(request).expect("decodes");
                self.signals.lock().expect("locks").extend(request.items);
                Ok(Bytes::new())
            }
            _ => {
                let answer = self.answers.lock().expect("locks").get(&method).cloned();
                self.calls
                    .lock()
                    .expect("locks")
                    .push((method.clone(), request));
                let mut go_on = self.calls_go_on.subscribe();
                go_on
                    .wait_for(|go| *go)
                    .await
                    .map_err(|_| Status::cancelled("the test ends"))?;
                answer.ok_or_else(|| {
                    Refusal::new(ErrorCode::ConversationNotFound, "none in a test").into()
                })
            }
        }
    }
}

impl World {
    async fn large_conversations(&self, request: Bytes) -> Result<Bytes, Status> {
        self.large_questions.fetch_add(1, Ordering::SeqCst);
        let request = session::LargeConversationsRequest::decode(request).expect("decodes");
        if self.session_is_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("session is away"));
        }
        // As they are when it is asked.
        let known = self.large.lock().expect("locks").clone();
        let mut holds = self.holds_large.subscribe();
        if holds.wait_for(|it| !*it).await.is_err() {
            return Err(Status::cancelled("the test ends"));
        }
        let mut answer = session::LargeConversationsResponse::default();
        for (index, user) in (0..).zip(&request.users) {
            if self.incomplete.lock().expect("locks").remove(&user.user_id) {
                answer.incomplete.push(index);
                continue;
            }
            for (conversation, joined_seq, as_of) in known.get(&user.user_id).into_iter().flatten()
            {
                answer.memberships.push(session::LargeMembership {
                    user_index: index,
                    conversation_id: conversation.clone(),
                    joined_seq: *joined_seq,
                    as_of: *as_of,
                });
            }
        }
        Ok(answer.encode_to_vec().into())
    }
}

/// Everything that the gateway calls.
pub(crate) fn routes(world: &Arc<World>) -> Routes {
    let mut router = Routes::new(MessageOrchestratorServiceServer::new(OrchestratorService(
        Arc::clone(&world.orchestrator),
        0,
    )))
    .add_service(RouterServiceServer::new(RouterPlayed(Arc::clone(
        &world.router,
    ))))
    .into_axum_router();
    for service in [
        "flare.signaling.v1.SignalingService",
        "flare.session.v1.SessionService",
        "flare.storage.v1.StorageReaderService",
        "flare.push.v1.PushSchedulerService",
    ] {
        let world = Arc::clone(world);
        let route = any(move |request: axum::extract::Request| async move {
            let method = request.uri().path().trim_start_matches('/').to_owned();
            let request = request.map(tonic::body::Body::new);
            let mut grpc = tonic::server::Grpc::new(Raw);
            grpc.unary(Unary { world, method }, request).await
        });
        router = Router::merge(
            router,
            Router::new().route(&format!("/{service}/{{method}}"), route),
        );
    }
    Routes::from(router)
}

/// The registry names of what [`routes`] serves.
pub(crate) fn names() -> Vec<&'static str> {
    vec![
        service::ONLINE,
        service::ORCHESTRATOR,
        service::STORAGE_READER,
        service::SESSION,
        service::PUSH_SERVER,
        service::ROUTE,
    ]
}

struct Unary {
    world: Arc<World>,
    method: String,
}

impl tonic::server::UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = futures::future::BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (world, method) = (Arc::clone(&self.world), self.method.clone());
        Box::pin(async move {
            world
                .answer(method, request.into_inner())
                .await
                .map(Response::new)
        })
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        while !holds() {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("in time: {what}"));
}

/// The code of an error.
pub(crate) fn code(error: Option<&common::Error>) -> ErrorCode {
    error.map_or(ErrorCode::Unspecified, common::Error::code)
}
