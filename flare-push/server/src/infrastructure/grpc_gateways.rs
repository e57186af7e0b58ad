//! One ordered stream to each gateway.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
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
use flare_server_core::{channels::Channels, shutdown::Shutdown};
use prost::Message;
use tokio::sync::{
    Notify,
    mpsc::{self, error::SendError},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::application::ports::{Delivery, Gateway, Gateways, Payload};

/// A gateway that was not reached for so long is forgotten until something goes to it again: longer than any lease, after which its connections
/// register anew and sync, and longer than a cut between the two is left alone.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// Streams to gateways, opened by the first delivery.
pub struct GrpcGateways {
    channels: Channels,
    shutdown: Shutdown,
    links: Mutex<HashMap<Gateway, Link>>,
    queue: usize,
    deadline: Duration,
}

/// The way to one gateway.
#[derive(Clone)]
struct Link {
    queue: mpsc::Sender<DeliverBatch>,
    loss: Arc<Loss>,
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

    fn link(&self, gateway: &Gateway) -> Link {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(gateway).filter(|it| !it.queue.is_closed()) {
            return link.clone();
        }
        links.retain(|_, link| !link.queue.is_closed());
        let (sender, receiver) = mpsc::channel(self.queue);
        let client = AccessGatewayServiceClient::new(self.channels.endpoint(&gateway.endpoint))
            .max_encoding_message_size(usize::MAX);
        let link = Link {
            queue: sender,
            loss: Arc::default(),
        };
        tokio::spawn(run(
            client,
            gateway.clone(),
            receiver,
            Arc::clone(&link.loss),
            self.shutdown.clone(),
        ));
        links.insert(gateway.clone(), link.clone());
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
        while !self.shutdown.is_draining() {
            let Link { queue, loss } = self.link(gateway);
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
}

fn encode(delivery: Delivery) -> Option<access::Delivery> {
    let payload = match delivery.payload {
        Payload::Event(bytes) => delivery::Payload::Event(bytes),
        Payload::Signal(bytes) => delivery::Payload::Signal(signal(bytes)?),
    };
    Some(access::Delivery {
        connection_ids: delivery.connections,
        payload: Some(payload),
    })
}

/// Signals were encoded by this service.
fn signal(bytes: Bytes) -> Option<client::Signal> {
    client::Signal::decode(bytes).ok()
}

/// Keeps a stream to one gateway. What a broken stream had taken is lost, and so is what came while the gateway took nothing; the next one is
/// opened at once and not with the next delivery, as the gateway tells its connections to sync when it opens.
async fn run(
    mut client: AccessGatewayServiceClient<flare_server_core::channels::ServiceChannel>,
    gateway: Gateway,
    mut queue: mpsc::Receiver<DeliverBatch>,
    loss: Arc<Loss>,
    shutdown: Shutdown,
) {
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .with_total_delay(Some(FORGET_AFTER))
        .without_max_times();
    let mut pauses = backoff.build();
    loop {
        loss.end(&mut queue);
        let ended = tokio::select! {
            ended = stream(&mut client, &mut queue, &shutdown) => ended,
            () = loss.begun.notified() => Ok(End::Stuck),
        };
        match ended {
            Ok(End::QueueClosed | End::Drained) => return,
            Ok(End::Broken { delivered }) => {
                if delivered {
                    pauses = backoff.build();
                }
                tracing::info!(gateway = %gateway.incarnation, "stream to gateway ended; opening another");
            }
            Ok(End::Stuck) => pauses = backoff.build(),
            Err(status) => {
                tracing::debug!(gateway = %gateway.incarnation, %status, "gateway is not reached");
            }
        }
        let Some(pause) = pauses.next() else {
            tracing::warn!(gateway = %gateway.incarnation, "gateway was not reached for long; forgotten");
            return;
        };
        if shutdown.or_drain(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

enum End {
    QueueClosed,
    Drained,
    Stuck,
    Broken { delivered: bool },
}

async fn stream(
    client: &mut AccessGatewayServiceClient<flare_server_core::channels::ServiceChannel>,
    queue: &mut mpsc::Receiver<DeliverBatch>,
    shutdown: &Shutdown,
) -> Result<End, Status> {
    let (sender, receiver) = mpsc::channel(1);
    let mut outcomes = client
        .deliver(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    let mut delivered = false;
    loop {
        tokio::select! {
            batch = queue.recv() => match batch {
                None => return Ok(End::QueueClosed),
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
            () = shutdown.draining() => return Ok(End::Drained),
        }
    }
}

fn note(outcome: &access::DeliverOutcome) {
    let gone = outcome.gone_connection_ids.len() as u64;
    if gone > 0 {
        metrics::counter!("flare_push_gone_connections_total").increment(gone);
    }
}
