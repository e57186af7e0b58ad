//! Calls to whichever process runs a service: those that are connected, the least burdened first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Status,
    body::Body,
    transport::{Channel, Endpoint},
};

use super::{
    BoxError,
    peer::{Link, Peer},
    returnable::Home,
};
use crate::shutdown::Shutdown;

/// Processes that one call is offered to, as long as none of them has got anything of it.
const MAX_ATTEMPTS: u32 = 3;

/// The processes that run a service, as the registry names them.
///
/// Each has a connection of its own, which is made before it is needed. One whose connection has ended is called no more from that moment
/// on, and is connected to again with growing pauses; soon, if a call finds nobody, which waits for what comes of it. One that lets calls wait until they are given up is called only when no other is
/// there, for a while. A call of which nothing has left this process is offered to another; any other failure is the caller's to judge.
pub(super) struct Balanced {
    service: String,
    peers: Arc<watch::Sender<Vec<Arc<Peer>>>>,
    /// Whose turn it is among equals.
    turn: AtomicUsize,
    patience: Duration,
    _end: DropGuard,
}

type Configure = Box<dyn Fn(&str) -> Result<Endpoint, Status> + Send + Sync>;

impl Balanced {
    /// Follows `endpoints`, until the process drains: others drain, too, and what is on its way has to get there. A call waits for the first
    /// attempt to connect, at most for `patience`.
    pub(super) fn new(
        service: &str,
        mut endpoints: watch::Receiver<Vec<String>>,
        configure: Configure,
        patience: Duration,
        shutdown: Shutdown,
    ) -> Self {
        let end = CancellationToken::new();
        let peers: Arc<watch::Sender<Vec<Arc<Peer>>>> = Arc::default();
        let members = Members {
            peers: Arc::clone(&peers),
            configure,
            end: end.clone(),
        };
        members.set(&endpoints.borrow_and_update());
        let following = async move {
            while let Some(Ok(())) = shutdown.or_drain(endpoints.changed()).await {
                members.set(&endpoints.borrow_and_update());
            }
        };
        let until_end = end.clone();
        tokio::spawn(async move { until_end.run_until_cancelled(following).await });
        Self {
            service: service.to_owned(),
            peers,
            turn: AtomicUsize::new(0),
            patience,
            _end: end.drop_guard(),
        }
    }

    /// Calls one of the processes.
    pub(super) async fn call(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, BoxError> {
        let (parts, mut body) = request.into_parts();
        let home = Home::default();
        let mut attempt = 1;
        loop {
            let (peer, channel, ended) = self.pick().await?;
            let request = http::Request::from_parts(parts.clone(), home.lend(body));
            let error = match peer.call(channel, request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match home.take() {
                Some(back) if attempt < MAX_ATTEMPTS => {
                    // It takes no calls, whatever it says.
                    ended.cancel();
                    metrics::counter!("flare_peer_calls_offered_again_total").increment(1);
                    body = back;
                    attempt += 1;
                }
                _ => return Err(error.into()),
            }
        }
    }

    async fn pick(&self) -> Result<(Arc<Peer>, Channel, CancellationToken), Status> {
        let mut peers = self.peers.subscribe();
        let deadline = Instant::now() + self.patience;
        let mut tried: Option<Vec<(Arc<Peer>, u64)>> = None;
        loop {
            let known = peers.borrow_and_update().clone();
            match self.choose(&known) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // Whoever was away may be back by now: each is tried once more for this call.
                Err(nobody) => {
                    let tried = tried.get_or_insert_with(|| {
                        let wanted = known.into_iter().map(|it| (Arc::clone(&it), it.want()));
                        wanted.collect()
                    });
                    if tried.iter().all(|(peer, before)| peer.attempts() > *before) {
                        return Err(nobody);
                    }
                }
            }
            if !matches!(timeout_at(deadline, peers.changed()).await, Ok(Ok(()))) {
                return Err(self.nobody("its endpoints are still being connected to"));
            }
        }
    }

    /// None: nobody is connected, and somebody may be soon.
    fn choose(
        &self,
        peers: &[Arc<Peer>],
    ) -> Result<Option<(Arc<Peer>, Channel, CancellationToken)>, Status> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (mut best, mut down, mut is_hopeless) = (None, None, true);
        for offset in 0..peers.len() {
            let Some(peer) = peers.get((turn.wrapping_add(offset)) % peers.len()) else {
                continue;
            };
            match peer.link() {
                Link::Up(channel, ended) => {
                    let burden = peer.burden();
                    if best.as_ref().is_none_or(|(least, _)| burden < *least) {
                        best = Some((burden, (Arc::clone(peer), channel, ended)));
                    }
                }
                Link::Connecting => is_hopeless = false,
                Link::Down(why) => down = Some(format!("{}: {why}", peer.uri)),
            }
        }
        match (best, down) {
            (Some((_, found)), _) => Ok(Some(found)),
            (None, _) if !is_hopeless => Ok(None),
            (None, Some(why)) => Err(self.nobody(&why)),
            (None, None) => Err(self.nobody("the registry names no endpoint")),
        }
    }

    fn nobody(&self, why: &str) -> Status {
        Status::unavailable(format!("nobody answers for {}: {why}", self.service))
    }
}

/// Who is in the list, with a keeper each.
struct Members {
    peers: Arc<watch::Sender<Vec<Arc<Peer>>>>,
    configure: Configure,
    end: CancellationToken,
}

impl Members {
    fn set(&self, endpoints: &[String]) {
        let mut next: Vec<Arc<Peer>> = Vec::with_capacity(endpoints.len());
        let known = self.peers.borrow().clone();
        for uri in endpoints {
            if next.iter().any(|it| it.uri == *uri) {
                continue;
            }
            let peer = match known.iter().find(|it| it.uri == *uri) {
                Some(known) => Arc::clone(known),
                None => match (self.configure)(uri) {
                    Ok(endpoint) => self.begin(uri, endpoint),
                    Err(error) => {
                        tracing::error!(endpoint = %uri, %error, "left out of the registry's answer");
                        continue;
                    }
                },
            };
            next.push(peer);
        }
        for gone in known
            .iter()
            .filter(|it| next.iter().all(|next| next.uri != it.uri))
        {
            gone.stop.cancel();
        }
        self.peers.send_replace(next);
    }

    fn begin(&self, uri: &str, endpoint: Endpoint) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(uri.to_owned(), self.end.child_token()));
        let peers = Arc::clone(&self.peers);
        let changed = move || peers.send_modify(|_| {});
        tokio::spawn(Arc::clone(&peer).keep(endpoint, changed));
        peer
    }
}
