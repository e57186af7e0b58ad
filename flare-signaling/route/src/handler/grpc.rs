//! `flare.signaling.v1.RouterService`.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use flare_proto::signaling::{
    AnnounceInterestRequest, AnnounceInterestResponse, AnnounceRequest, AnnounceResponse,
    InterestedRequest, InterestedResponse, OwnerRequest, OwnerResponse, RegisterServiceRequest,
    RegisterServiceResponse, ResolveServiceRequest, ResolveServiceResponse, WatchRequest,
    WatchResponse, router_service_server::RouterService,
};
use flare_server_core::{error::Refusal, shutdown::Shutdown};
use futures::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use crate::{
    application::directories::{Directories, Registration, Visit},
    domain::{Refused, owners::View},
};

/// Conversations of one question.
const MAX_CONVERSATIONS: usize = 1_000;
/// Partitions of a log, more than any has: they are kept one by one.
const MAX_PARTITIONS: u32 = 65_536;

/// The service's gRPC side. Its streams end when the process drains.
pub struct Grpc {
    directories: Arc<Directories>,
    shutdown: Shutdown,
}

impl Grpc {
    /// On these directories.
    pub fn new(directories: Arc<Directories>, shutdown: Shutdown) -> Self {
        Self {
            directories,
            shutdown,
        }
    }
}

/// Takes in a request; the first begins the visit.
type Take<Q, A> = fn(&Arc<Directories>, &mut Option<Visit>, Q) -> Result<A, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream of requests of somebody who tells.
struct Telling<Q> {
    requests: Streaming<Q>,
    directories: Arc<Directories>,
    shutdown: Shutdown,
    visit: Option<Visit>,
    /// It was refused: the stream is over.
    is_over: bool,
}

impl<Q> Telling<Q> {
    /// Takes in the next request by `take`, and answers it. An end of the requests is a farewell.
    async fn next<A>(mut self, take: Take<Q, A>) -> Option<(Result<A, Status>, Self)> {
        if self.is_over {
            return None;
        }
        match self.shutdown.or_drain(self.requests.message()).await? {
            Ok(Some(request)) => {
                let answer = take(&self.directories, &mut self.visit, request);
                self.is_over = answer.is_err();
                Some((answer, self))
            }
            Ok(None) => {
                if let Some(visit) = self.visit.take() {
                    visit.farewell();
                }
                None
            }
            Err(_) => None,
        }
    }
}

impl Grpc {
    fn telling<Q, A>(
        &self,
        request: Request<Streaming<Q>>,
        take: Take<Q, A>,
    ) -> Response<Answers<A>>
    where
        Q: Send + 'static,
        A: Send + 'static,
    {
        let telling = Telling {
            requests: request.into_inner(),
            directories: Arc::clone(&self.directories),
            shutdown: self.shutdown.clone(),
            visit: None,
            is_over: false,
        };
        Response::new(Box::pin(futures::stream::unfold(telling, move |it| {
            it.next(take)
        })))
    }
}

fn refused(refused: Refused) -> Status {
    convert::refusal(&refused).into()
}

fn announced(
    directories: &Arc<Directories>,
    visit: &mut Option<Visit>,
    request: AnnounceRequest,
) -> Result<AnnounceResponse, Status> {
    let ownerships = convert::ownerships(request.ownerships);
    match visit {
        Some(visit) => visit.tell(&ownerships).map_err(refused)?,
        None => {
            let announcer = convert::announcer(request.announcer, "announcer")?;
            let count = request.partitions;
            if !(1..=MAX_PARTITIONS).contains(&count) {
                let message = format!("{count} partitions: 1 to {MAX_PARTITIONS} may be");
                return Err(Refusal::invalid("partitions", message).into());
            }
            let begun = directories
                .announce(
                    announcer.incarnation,
                    &announcer.endpoint,
                    count,
                    &ownerships,
                )
                .map_err(refused)?;
            *visit = Some(begun);
        }
    }
    Ok(AnnounceResponse {})
}

fn interest_announced(
    directories: &Arc<Directories>,
    visit: &mut Option<Visit>,
    request: AnnounceInterestRequest,
) -> Result<AnnounceInterestResponse, Status> {
    let begun = convert::conversations(request.begun)?;
    let ended = convert::conversations(request.ended)?;
    let visit = match visit {
        Some(visit) => visit,
        None => {
            let gateway = convert::announcer(request.gateway, "gateway")?;
            let begins = directories.announce_interest(gateway.incarnation, &gateway.endpoint);
            visit.insert(begins.map_err(refused)?)
        }
    };
    visit
        .tell_interest(begun, ended, !request.more)
        .map_err(refused)?;
    Ok(AnnounceInterestResponse {})
}

/// A watcher of the directory of partitions.
struct Watcher {
    view: watch::Receiver<Arc<View>>,
    /// Empty: all.
    wanted: HashSet<u32>,
    /// What it has been told.
    told: Option<Arc<View>>,
    shutdown: Shutdown,
}

impl Watcher {
    async fn next(mut self) -> Option<(Result<WatchResponse, Status>, Self)> {
        loop {
            if self.told.is_some() {
                self.shutdown.or_drain(self.view.changed()).await?.ok()?;
            }
            let view = Arc::clone(&self.view.borrow_and_update());
            let is_first = self.told.is_none();
            let before = self.told.take().unwrap_or_default();
            let is_wanted = |at: u32| self.wanted.is_empty() || self.wanted.contains(&at);
            let changes = view.changes_since(&before).into_iter();
            let owners: Vec<_> = changes
                .filter(|(at, _)| is_wanted(*at))
                .map(|(at, known)| convert::owner(at, &known))
                .collect();
            let has_news = !owners.is_empty() || view.count() != before.count();
            let partitions = view.count();
            self.told = Some(view);
            if is_first || has_news {
                return Some((Ok(WatchResponse { partitions, owners }), self));
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        metrics::gauge!("flare_route_watchers").decrement(1.0);
    }
}

/// A registration that stands as long as the stream.
struct Registered {
    requests: Streaming<RegisterServiceRequest>,
    directories: Arc<Directories>,
    shutdown: Shutdown,
    registration: Option<Registration>,
}

impl Registered {
    async fn next(mut self) -> Option<(Result<RegisterServiceResponse, Status>, Self)> {
        let request = self.shutdown.or_drain(self.requests.message()).await?;
        let request = request.ok()??;
        if self.registration.is_some() {
            let message = "a stream stands for one registration: open another for the next";
            let refusal = Refusal::invalid("svid", message);
            // With the registration the stream's end ends it.
            self.registration = None;
            return Some((Err(refusal.into()), self));
        }
        let registered = convert::svid(&request.svid)
            .and_then(|()| convert::check_endpoint(&request.endpoint, "endpoint"))
            .and_then(|()| {
                let registered = self.directories.register(request.svid, &request.endpoint);
                registered.map_err(|it| convert::refusal(&it))
            });
        match registered {
            Ok(registration) => {
                self.registration = Some(registration);
                Some((Ok(RegisterServiceResponse {}), self))
            }
            Err(refusal) => Some((Err(refusal.into()), self)),
        }
    }
}

#[tonic::async_trait]
impl RouterService for Grpc {
    type AnnounceStream = Answers<AnnounceResponse>;
    type WatchStream = Answers<WatchResponse>;
    type RegisterServiceStream = Answers<RegisterServiceResponse>;
    type AnnounceInterestStream = Answers<AnnounceInterestResponse>;

    async fn announce(
        &self,
        request: Request<Streaming<AnnounceRequest>>,
    ) -> Result<Response<Self::AnnounceStream>, Status> {
        Ok(self.telling(request, announced))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        metrics::gauge!("flare_route_watchers").increment(1.0);
        let watcher = Watcher {
            view: self.directories.watch(),
            wanted: request.into_inner().partitions.into_iter().collect(),
            told: None,
            shutdown: self.shutdown.clone(),
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            watcher,
            Watcher::next,
        ))))
    }

    async fn owner(
        &self,
        request: Request<OwnerRequest>,
    ) -> Result<Response<OwnerResponse>, Status> {
        let asked = request.into_inner().partition;
        let view = Arc::clone(&self.directories.watch().borrow());
        let known = view.partitions.get(asked as usize);
        match known {
            Some(known) => Ok(Response::new(OwnerResponse {
                owner: known.as_ref().map(|it| convert::owner(asked, it)),
            })),
            None => {
                let partitions = view.count();
                Err(refused(Refused::NoPartition {
                    given: asked,
                    partitions,
                }))
            }
        }
    }

    async fn register_service(
        &self,
        request: Request<Streaming<RegisterServiceRequest>>,
    ) -> Result<Response<Self::RegisterServiceStream>, Status> {
        let registered = Registered {
            requests: request.into_inner(),
            directories: Arc::clone(&self.directories),
            shutdown: self.shutdown.clone(),
            registration: None,
        };
        Ok(Response::new(Box::pin(futures::stream::unfold(
            registered,
            Registered::next,
        ))))
    }

    async fn resolve_service(
        &self,
        request: Request<ResolveServiceRequest>,
    ) -> Result<Response<ResolveServiceResponse>, Status> {
        let svid = request.into_inner().svid;
        convert::svid(&svid)?;
        Ok(Response::new(ResolveServiceResponse {
            endpoints: self.directories.resolve(&svid),
        }))
    }

    async fn announce_interest(
        &self,
        request: Request<Streaming<AnnounceInterestRequest>>,
    ) -> Result<Response<Self::AnnounceInterestStream>, Status> {
        Ok(self.telling(request, interest_announced))
    }

    async fn interested(
        &self,
        request: Request<InterestedRequest>,
    ) -> Result<Response<InterestedResponse>, Status> {
        let asked = request.into_inner().conversations;
        if asked.len() > MAX_CONVERSATIONS {
            let given = asked.len();
            let message =
                format!("{given} conversations: at most {MAX_CONVERSATIONS} may be asked for");
            return Err(Refusal::invalid("conversations", message).into());
        }
        let asked = convert::conversations(asked)?;
        let found = self.directories.interested(&asked);
        let settled = self.directories.is_settled();
        Ok(Response::new(convert::interested(found, settled)))
    }
}
