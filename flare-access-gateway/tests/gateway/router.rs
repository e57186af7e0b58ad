//! flare-signaling-route, played: it notes what interests the gateway.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use flare_proto::signaling::{
    AnnounceInterestRequest, AnnounceInterestResponse, AnnounceRequest, AnnounceResponse,
    InterestedRequest, InterestedResponse, OwnerRequest, OwnerResponse, RegisterServiceRequest,
    RegisterServiceResponse, ResolveServiceRequest, ResolveServiceResponse, WatchRequest,
    WatchResponse, router_service_server::RouterService,
};
use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// What it knows.
#[derive(Default)]
pub(crate) struct Router {
    /// Conversations, by id.
    pub(crate) interested: Mutex<BTreeSet<String>>,
    /// All that was ever said to have ended.
    pub(crate) ended: Mutex<Vec<String>>,
    /// Streams that were opened.
    pub(crate) streams: AtomicUsize,
    /// Statements are read, and their answers wait while this is true.
    pub(crate) holds_answers: watch::Sender<bool>,
    /// Raised, it breaks every stream.
    pub(crate) breaks: watch::Sender<u64>,
    pub(crate) is_away: AtomicBool,
}

impl Router {
    fn take(&self, request: AnnounceInterestRequest) {
        let mut interested = self.interested.lock().expect("locks");
        if request.gateway.is_some() {
            interested.clear();
        }
        for name in request.ended {
            interested.remove(&name.conversation_id);
            let mut ended = self.ended.lock().expect("locks");
            ended.push(name.conversation_id);
        }
        interested.extend(request.begun.into_iter().map(|it| it.conversation_id));
    }

    pub(crate) fn knows(&self, conversation: &str) -> bool {
        let interested = self.interested.lock().expect("locks");
        interested.contains(conversation)
    }

    pub(crate) fn break_streams(&self) {
        self.breaks.send_modify(|it| *it += 1);
    }
}

pub(crate) struct RouterPlayed(pub(crate) Arc<Router>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn unused<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not used by the gateway"))
}

#[tonic::async_trait]
impl RouterService for RouterPlayed {
    type AnnounceStream = Answers<AnnounceResponse>;
    type WatchStream = Answers<WatchResponse>;
    type RegisterServiceStream = Answers<RegisterServiceResponse>;
    type AnnounceInterestStream = ReceiverStream<Result<AnnounceInterestResponse, Status>>;

    async fn announce_interest(
        &self,
        request: Request<Streaming<AnnounceInterestRequest>>,
    ) -> Result<Response<Self::AnnounceInterestStream>, Status> {
        let router = Arc::clone(&self.0);
        if router.is_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the router is away"));
        }
        router.streams.fetch_add(1, Ordering::SeqCst);
        let mut requests = request.into_inner();
        let (answers, answered) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut holds = router.holds_answers.subscribe();
            let mut breaks = router.breaks.subscribe();
            let telling = async {
                while let Ok(Some(request)) = requests.message().await {
                    router.take(request);
                    if holds.wait_for(|it| !*it).await.is_err() {
                        return;
                    }
                    let answer = Ok(AnnounceInterestResponse {});
                    if answers.send(answer).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = telling => {}
                _ = breaks.changed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn announce(
        &self,
        _: Request<Streaming<AnnounceRequest>>,
    ) -> Result<Response<Self::AnnounceStream>, Status> {
        unused()
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        unused()
    }

    async fn owner(&self, _: Request<OwnerRequest>) -> Result<Response<OwnerResponse>, Status> {
        unused()
    }

    async fn register_service(
        &self,
        _: Request<Streaming<RegisterServiceRequest>>,
    ) -> Result<Response<Self::RegisterServiceStream>, Status> {
        unused()
    }

    async fn resolve_service(
        &self,
        _: Request<ResolveServiceRequest>,
    ) -> Result<Response<ResolveServiceResponse>, Status> {
        unused()
    }

    async fn interested(
        &self,
        _: Request<InterestedRequest>,
    ) -> Result<Response<InterestedResponse>, Status> {
        unused()
    }
}
