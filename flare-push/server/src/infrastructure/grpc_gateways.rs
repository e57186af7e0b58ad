//! One ordered stream to each gateway.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use flare_proto::{
    access::{
        self, DeliverBatch, access_gateway_service_client::AccessGatewayServiceClient, delivery,
    },
    client,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    readiness::ReadyHandle,
    registry::service,
    shutdown::Shutdown,
};
use prost::Message;
use tokio::sync::{
    Notify,
    mpsc::{self, error::SendError},
    watch,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::application::ports::{Delivery, Gateway, Gateways, Payload};

/// A gateway that was not reached for so long, and that the registry does not name, is forgotten until something goes to it again. It is longer
/// than any lease, after which its connections register anew and sync. What waited for it is lost; the next stream makes up for that, too.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// Streams to gateways: to this process's own and to those that the registry names as long as [`keep_open`](Self::keep_open) runs, to others from
/// the first delivery on. Every stream makes its gateway tell its connections to sync, so what was lost before, by whomever, is made up for.
pub struct GrpcGateways {
    channels: Channels,
    shutdown: Shutdown,
    /// By endpoint.
    links: Mutex<HashMap<String, Link>>,
    queue: usize,
    deadline: Duration,
}

/// The way to one gateway.
#[derive(Clone)]
struct Link {
    queue: mpsc::Sender<DeliverBatch>,
    loss: Arc<Loss>,
    /// Whether a stream has ever been open.
    opened: watch::Receiver<bool>,
}

/// That batches are lost until another stream is opened. The gateway tells its connections to sync when it opens, so it makes up for all that
/// was lost before.
#[derive(Default)]
struct Loss {
    lasts: AtomicBool,
    begun: Notify,
}

impl Loss {
    fn begin(&self) {
        self.lasts.store(true, Ordering::SeqCst);
        self.begun.notify_one();
    }

    fn lasts(&self) -> bool {
        self.lasts.load(Ordering::SeqCst)
    }

    /// The next stream is about to be opened: what is queued goes by it, or is made up for by its opening.
    fn end(&self, queue: &mut mpsc::Receiver<DeliverBatch>) {
        if self.lasts() {
            while queue.try_recv().is_ok() {}
            self.lasts.store(false, Ordering::SeqCst);
        }
    }
}

impl GrpcGateways {
    /// `queue` batches may be on their way to a gateway; one that takes none for `deadline` loses its stream.
    pub fn new(channels: Channels, shutdown: Shutdown, queue: usize, deadline: Duration) -> Self {
        Self {
            channels,
            shutdown,
            links: Mutex::default(),
            queue,
            deadline,
        }
    }

    /// Opens a stream to every gateway that is known without a delivery, and to each that comes to be known, until the process drains. It is ready
    /// when the one to this process's own gateway is open: then no connection comes before the stream.
    pub async fn keep_open(&self, ready: ReadyHandle) {
        if let Some(own) = self.channels.local_endpoint(service::ACCESS_GATEWAY) {
            let mut opened = self.link(&own).opened;
            self.shutdown.or_drain(opened.wait_for(|it| *it)).await;
        }
        ready.set(true);
        let mut named = self.channels.named_endpoints(service::ACCESS_GATEWAY);
        loop {
            for endpoint in &*named.borrow_and_update() {
                self.link(endpoint);
            }
            if !matches!(self.shutdown.or_drain(named.changed()).await, Some(Ok(()))) {
                break;
            }
        }
        self.shutdown.draining().await;
    }

    /// Ends the streams when what was handed over is put out, or when a gateway takes it no more.
    pub async fn close(&self) {
        let links = mem::take(&mut *self.links());
        let ends = links.into_values().map(|link| async move {
            let Link {
                queue, mut opened, ..
            } = link;
            drop(queue);
            // It is dropped with the stream's keeper.
            while opened.changed().await.is_ok() {}
        });
        let ended = tokio::time::timeout(self.deadline, futures::future::join_all(ends)).await;
        if ended.is_err() {
            tracing::warn!("not every gateway took what was on its way to it");
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, endpoint: &str) -> Link {
        let mut links = self.links();
        if let Some(link) = links.get(endpoint).filter(|it| !it.queue.is_closed()) {
            return link.clone();
        }
        links.retain(|_, link| !link.queue.is_closed());
        let (queue, batches) = mpsc::channel(self.queue);
        let (opened, has_opened) = watch::channel(false);
        let link = Link {
            queue,
            loss: Arc::default(),
            opened: has_opened,
        };
        let client = AccessGatewayServiceClient::new(self.channels.endpoint(endpoint))
            .max_encoding_message_size(usize::MAX);
        let keeper = Keeper {
            client,
            endpoint: endpoint.to_owned(),
            batches,
            loss: Arc::clone(&link.loss),
            opened,
            channels: self.channels.clone(),
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(keeper.run());
        links.insert(endpoint.to_owned(), link.clone());
        link
    }
}

#[async_trait]
impl Gateways for GrpcGateways {
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>) {
        let mut batch = DeliverBatch {
            batch_id: 0,
            incarnation: gateway.incarnation.clone(),
            deliveries: deliveries.into_iter().filter_map(encode).collect(),
        };
        loop {
            let Link { queue, loss, .. } = self.link(&gateway.endpoint);
            if loss.lasts() {
                // The next stream makes up for this one too, and nobody else has to wait for it.
                return;
            }
            match tokio::time::timeout(self.deadline, queue.send(batch)).await {
                Ok(Ok(())) => return,
                // The gateway was forgotten at this very moment: by another link.
                Ok(Err(SendError(unsent))) => batch = unsent,
                Err(_) => {
                    metrics::counter!("flare_push_gateways_given_up_total").increment(1);
                    tracing::warn!(gateway = %gateway.incarnation, endpoint = %gateway.endpoint, "gateway takes no deliveries; its stream is opened anew");
                    loss.begin();
                    return;
                }
            }
        }
    }

    fn start_over(&self) {
        for link in self.links().values() {
            link.loss.begin();
        }
    }
}

fn encode(delivery: Delivery) -> Option<access::Delivery> {
    let payload = match delivery.payload {
        Payload::Event(bytes) => delivery::Payload::Event(bytes),
        Payload::Signal(bytes) => delivery::Payload::Signal(signal(bytes)?),
        Payload::SyncHint => delivery::Payload::SyncHint(client::SyncHint::default()),
    };
    Some(access::Delivery {
        connection_ids: delivery.connections,
        payload: Some(payload),
        members: delivery.members.map(|it| access::MembersHere {
            member_seq: it.member_seq,
            named_all: it.named_all,
        }),
    })
}

/// Signals were encoded by this service.
fn signal(bytes: Bytes) -> Option<client::Signal> {
    client::Signal::decode(bytes).ok()
}

/// Keeps a stream to one gateway. What a broken stream had taken is lost, and so is what came while the gateway took nothing; the next one is
/// opened at once and not with the next delivery, as the gateway tells its connections to sync when it opens.
struct Keeper {
    client: AccessGatewayServiceClient<ServiceChannel>,
    endpoint: String,
    batches: mpsc::Receiver<DeliverBatch>,
    loss: Arc<Loss>,
    opened: watch::Sender<bool>,
    channels: Channels,
    shutdown: Shutdown,
}

enum End {
    Closed,
    Stuck,
    Broken { delivered: bool },
}

impl Keeper {
    async fn run(mut self) {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .with_total_delay(Some(FORGET_AFTER))
            .without_max_times();
        let mut pauses = backoff.build();
        let loss = Arc::clone(&self.loss);
        loop {
            loss.end(&mut self.batches);
            let ended = tokio::select! {
                ended = self.stream() => ended,
                () = loss.begun.notified() => Ok(End::Stuck),
            };
            match ended {
                Ok(End::Closed) => return,
                Ok(End::Broken { delivered }) => {
                    if delivered {
                        pauses = backoff.build();
                    }
                    tracing::info!(endpoint = %self.endpoint, "stream to gateway ended; opening another");
                }
                Ok(End::Stuck) => pauses = backoff.build(),
                Err(status) => {
                    tracing::debug!(endpoint = %self.endpoint, %status, "gateway is not reached");
                }
            }
            let pause = match pauses.next() {
                Some(pause) => pause,
                None if self.is_named() => {
                    pauses = backoff.build();
                    continue;
                }
                None => {
                    tracing::warn!(endpoint = %self.endpoint, "gateway was not reached for long; forgotten");
                    return;
                }
            };
            let paused = tokio::time::sleep(pause);
            if self.shutdown.or_drain(paused).await.is_none() {
                return;
            }
        }
    }

    /// Whether the gateway is known without a delivery.
    fn is_named(&self) -> bool {
        let own = self.channels.local_endpoint(service::ACCESS_GATEWAY);
        let named = self.channels.named_endpoints(service::ACCESS_GATEWAY);
        own.as_ref() == Some(&self.endpoint) || named.borrow().contains(&self.endpoint)
    }

    async fn stream(&mut self) -> Result<End, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let mut outcomes = self
            .client
            .deliver(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        self.opened.send_replace(true);
        let mut delivered = false;
        loop {
            tokio::select! {
                batch = self.batches.recv() => match batch {
                    None => {
                        drop(sender);
                        while let Some(outcome) = outcomes.message().await? {
                            note(&outcome);
                        }
                        return Ok(End::Closed);
                    }
                    Some(batch) => {
                        // A full stream must not keep its outcomes from being read.
                        let mut batch = Some(batch);
                        while batch.is_some() {
                            tokio::select! {
                                permit = sender.reserve() => match (permit, batch.take()) {
                                    (Ok(permit), Some(batch)) => permit.send(batch),
                                    _ => return Ok(End::Broken { delivered }),
                                },
                                outcome = outcomes.message() => match outcome? {
                                    Some(outcome) => { note(&outcome); delivered = true; }
                                    None => return Ok(End::Broken { delivered }),
                                },
                            }
                        }
                    }
                },
                outcome = outcomes.message() => match outcome? {
                    Some(outcome) => { note(&outcome); delivered = true; }
                    None => return Ok(End::Broken { delivered }),
                },
            }
        }
    }
}

fn note(outcome: &access::DeliverOutcome) {
    let gone = outcome.gone_connection_ids.len() as u64;
    if gone > 0 {
        metrics::counter!("flare_push_gone_connections_total").increment(gone);
    }
}
