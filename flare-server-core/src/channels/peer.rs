//! One process that runs a service: its connection, and how it answers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    transport::{self, Channel, Endpoint},
};
use tower::Service;

use super::connection::connect;

/// Between attempts to connect, at first and in the long run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A connection that has lasted for so long was a good one: the next attempt comes soon.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// A call that was given up after so long counts against the process.
const SLOW: Duration = Duration::from_secs(1);
/// For how long others are preferred after the first such call, doubled with each, and at most.
const SHORTEST_SUSPICION: Duration = Duration::from_millis(500);
const LONGEST_SUSPICION: Duration = Duration::from_secs(10);

/// A process at one endpoint.
pub(super) struct Peer {
    /// Where it answers.
    pub(super) uri: String,
    link: Mutex<Link>,
    conduct: Mutex<Conduct>,
    /// Calls without an answer yet.
    waiting: AtomicUsize,
    /// Attempts to connect that have come to an end.
    attempts: AtomicU64,
    /// A call finds nobody and would like the next attempt now.
    wanted: Notify,
    /// Ends the keeper.
    pub(super) stop: CancellationToken,
}

/// Whether it can be called.
#[derive(Clone)]
pub(super) enum Link {
    /// Nobody knows yet.
    Connecting,
    /// By this channel, until its connection ends.
    Up(Channel, CancellationToken),
    /// The last attempt failed, or the connection has ended.
    Down(String),
}

/// What became of the latest calls.
#[derive(Default)]
struct Conduct {
    given_up: u32,
    suspect_until: Option<Instant>,
}

impl Peer {
    /// Not connected yet.
    pub(super) fn new(uri: String, stop: CancellationToken) -> Self {
        Self {
            uri,
            link: Mutex::new(Link::Connecting),
            conduct: Mutex::default(),
            waiting: AtomicUsize::new(0),
            attempts: AtomicU64::new(0),
            wanted: Notify::new(),
            stop,
        }
    }

    /// Keeps a connection until it is stopped; `changed` is called whenever the link has changed.
    pub(super) async fn keep(self: Arc<Self>, endpoint: Endpoint, changed: impl Fn()) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(SHORTEST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = backoff.build();
        let keeping = async {
            loop {
                let ended = CancellationToken::new();
                match connect(&endpoint, &ended).await {
                    Ok(channel) => {
                        let since = Instant::now();
                        self.set(Link::Up(channel, ended.clone()));
                        self.attempts.fetch_add(1, Ordering::Release);
                        changed();
                        ended.cancelled().await;
                        tracing::info!(endpoint = %self.uri, "the connection to a peer has ended");
                        self.set(Link::Down("the connection has ended".to_owned()));
                        if since.elapsed() >= GOOD_AFTER {
                            pauses = backoff.build();
                        }
                    }
                    Err(why) => {
                        tracing::debug!(endpoint = %self.uri, %why, "a peer is not reached");
                        self.set(Link::Down(why));
                        self.attempts.fetch_add(1, Ordering::Release);
                    }
                }
                changed();
                self.pause(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
            }
        };
        self.stop.run_until_cancelled(keeping).await;
    }

    /// Waits before the next attempt: for the shortest pause only, if a call would like it.
    async fn pause(&self, longest: Duration) {
        let wanted = async {
            tokio::time::sleep(SHORTEST_PAUSE).await;
            self.wanted.notified().await;
        };
        let _ = tokio::time::timeout(longest, wanted).await;
    }

    /// Asks for an attempt to connect soon. Answers how many there have been.
    pub(super) fn want(&self) -> u64 {
        self.wanted.notify_one();
        self.attempts()
    }

    /// How many attempts to connect have come to an end.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Acquire)
    }

    fn set(&self, link: Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Whether it can be called. A connection that has just ended counts as down before its keeper has noticed.
    pub(super) fn link(&self) -> Link {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        match &*link {
            Link::Up(_, ended) if ended.is_cancelled() => {
                Link::Down("the connection has ended".to_owned())
            }
            link => link.clone(),
        }
    }

    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How little it is to be preferred: first whether it leaves calls unanswered, then how many wait.
    pub(super) fn burden(&self) -> (bool, usize) {
        let suspect = self.conduct().suspect_until;
        let is_suspect = suspect.is_some_and(|until| Instant::now() < until);
        (is_suspect, self.waiting.load(Ordering::Relaxed))
    }

    /// Calls it.
    pub(super) async fn call(
        &self,
        mut channel: Channel,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, transport::Error> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut call = Call {
            peer: self,
            begun: Instant::now(),
            is_answered: false,
        };
        std::future::poll_fn(|context| channel.poll_ready(context)).await?;
        let answer = channel.call(request).await;
        call.is_answered = true;
        if answer.is_ok() {
            *self.conduct() = Conduct::default();
        }
        answer
    }

    fn was_given_up(&self) {
        let mut conduct = self.conduct();
        let longer = SHORTEST_SUSPICION.saturating_mul(1 << conduct.given_up.min(10));
        conduct.suspect_until = Some(Instant::now() + longer.min(LONGEST_SUSPICION));
        conduct.given_up = conduct.given_up.saturating_add(1);
    }
}

/// A call that waits for its answer; dropped before it: it was given up.
struct Call<'a> {
    peer: &'a Peer,
    begun: Instant,
    is_answered: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.peer.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered && self.begun.elapsed() >= SLOW {
            self.peer.was_given_up();
        }
    }
}
