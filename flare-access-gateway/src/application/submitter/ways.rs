//! The streams to the owners.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use flare_server_core::error::Refusal;
use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use tokio_stream::StreamMap;
use tokio_util::sync::PollSender;

use crate::application::ports::{Orchestrator, Receipt, Submission, SubmitStream};

/// Pauses between attempts to open a stream to the same owner.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

type Opening = BoxFuture<'static, (u64, Result<SubmitStream, Refusal>)>;
/// None: it has ended.
type Receipts = BoxStream<'static, Option<Result<Vec<Receipt>, Refusal>>>;

/// What happened to a way.
pub(super) enum Event {
    /// It stands.
    Opened(u64),
    /// Receipts came by it.
    Receipts(u64, Vec<Receipt>),
    /// It takes a batch.
    Ready(u64),
    /// It has ended, or was not opened.
    Ended(u64),
}

/// Ways by number.
pub(super) struct Ways {
    orchestrator: Arc<dyn Orchestrator>,
    opening: FuturesUnordered<Opening>,
    /// Of those that are opening or open.
    endpoints: HashMap<u64, Arc<str>>,
    commands: BTreeMap<u64, PollSender<Vec<Submission>>>,
    receipts: StreamMap<u64, Receipts>,
    /// Of endpoints whose last way ended, or was not opened, and that have given no receipt since.
    pauses: HashMap<Arc<str>, ExponentialBackoff>,
}

impl Ways {
    pub(super) fn new(orchestrator: Arc<dyn Orchestrator>) -> Self {
        Self {
            orchestrator,
            opening: FuturesUnordered::new(),
            endpoints: HashMap::new(),
            commands: BTreeMap::new(),
            receipts: StreamMap::new(),
            pauses: HashMap::new(),
        }
    }

    pub(super) fn open(&mut self, way: u64, endpoint: Arc<str>) {
        let pause = self.pauses.get_mut(&endpoint);
        let pause = pause.map(|it| it.next().unwrap_or(LONGEST_PAUSE));
        self.endpoints.insert(way, Arc::clone(&endpoint));
        let orchestrator = Arc::clone(&self.orchestrator);
        self.opening.push(Box::pin(async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            (way, orchestrator.open(&endpoint).await)
        }));
    }

    /// It is of no more use.
    pub(super) fn close(&mut self, way: u64) {
        self.endpoints.remove(&way);
        self.commands.remove(&way);
        self.receipts.remove(&way);
    }

    /// Forgets the pauses of endpoints but for these.
    pub(super) fn forget_but(&mut self, is_known: impl Fn(&str) -> bool) {
        self.pauses.retain(|it, _| is_known(it));
    }

    /// Hands over what [`Event::Ready`] has made room for.
    pub(super) fn send(&mut self, way: u64, batch: Vec<Submission>) {
        if let Some(commands) = self.commands.get_mut(&way) {
            // Closed: the end of its receipts tells.
            let _ = commands.send_item(batch);
        }
    }

    /// What happens next. Of those for which `has_next`, it also tells when a batch may be sent. Cancel safe.
    pub(super) async fn next(&mut self, has_next: impl Fn(u64) -> bool) -> Event {
        std::future::poll_fn(|context| self.poll_next(context, &has_next)).await
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        has_next: &impl Fn(u64) -> bool,
    ) -> Poll<Event> {
        while let Poll::Ready(Some((way, opened))) = self.opening.poll_next_unpin(context) {
            // Closed meanwhile: what was opened is dropped.
            if self.endpoints.contains_key(&way) {
                return Poll::Ready(self.opened(way, opened));
            }
        }
        match std::pin::Pin::new(&mut self.receipts).poll_next(context) {
            Poll::Ready(Some((way, Some(Ok(receipts))))) => {
                if let Some(endpoint) = self.endpoints.get(&way) {
                    self.pauses.remove(endpoint);
                }
                return Poll::Ready(Event::Receipts(way, receipts));
            }
            Poll::Ready(Some((way, end))) => {
                if let Some(Err(refusal)) = end {
                    tracing::debug!(%refusal, "a stream to an orchestrator broke");
                }
                return Poll::Ready(self.ended(way));
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        let ready = self.commands.iter_mut().find_map(|(way, commands)| {
            if !has_next(*way) {
                return None;
            }
            match commands.poll_reserve(context) {
                Poll::Ready(reserved) => Some((*way, reserved.is_ok())),
                Poll::Pending => None,
            }
        });
        match ready {
            Some((way, true)) => Poll::Ready(Event::Ready(way)),
            Some((way, false)) => Poll::Ready(self.ended(way)),
            None => Poll::Pending,
        }
    }

    fn opened(&mut self, way: u64, opened: Result<SubmitStream, Refusal>) -> Event {
        match opened {
            Ok(SubmitStream { commands, receipts }) => {
                let end = stream::once(std::future::ready(None));
                self.commands.insert(way, PollSender::new(commands));
                self.receipts
                    .insert(way, receipts.map(Some).chain(end).boxed());
                Event::Opened(way)
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "an orchestrator is not reached");
                self.ended(way)
            }
        }
    }

    fn ended(&mut self, way: u64) -> Event {
        if self.commands.contains_key(&way) {
            metrics::counter!("flare_access_gateway_submit_streams_broken_total").increment(1);
        }
        if let Some(endpoint) = self.endpoints.get(&way) {
            let pauses = self.pauses.entry(Arc::clone(endpoint));
            pauses.or_insert_with(|| {
                ExponentialBuilder::default()
                    .with_min_delay(SHORTEST_PAUSE)
                    .with_max_delay(LONGEST_PAUSE)
                    .with_jitter()
                    .without_max_times()
                    .build()
            });
        }
        self.close(way);
        Event::Ended(way)
    }
}
