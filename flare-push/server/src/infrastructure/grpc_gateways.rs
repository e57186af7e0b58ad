//! One ordered stream to each gateway.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
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
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::application::ports::{Delivery, Gateway, Gateways, Payload};

/// A gateway that was not reached for so long is forgotten until something goes to it again.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// Streams to gateways, opened by the first delivery.
pub struct GrpcGateways {
    channels: Channels,
    shutdown: Shutdown,
    links: Mutex<HashMap<Gateway, mpsc::Sender<DeliverBatch>>>,
    queue: usize,
    deadline: Duration,
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

    fn link(&self, gateway: &Gateway) -> mpsc::Sender<DeliverBatch> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(gateway).filter(|it| !it.is_closed()) {
            return link.clone();
        }
        links.retain(|_, link| !link.is_closed());
        let (sender, receiver) = mpsc::channel(self.queue);
        let client = AccessGatewayServiceClient::new(self.channels.endpoint(&gateway.endpoint))
            .max_encoding_message_size(usize::MAX);
        tokio::spawn(run(
            client,
            gateway.clone(),
            receiver,
            self.shutdown.clone(),
        ));
        links.insert(gateway.clone(), sender.clone());
        sender
    }

    /// Ends the link: its task sees the closed queue, and the next delivery opens another stream.
    fn drop_link(&self, gateway: &Gateway) {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(gateway);
        metrics::counter!("flare_push_gateways_given_up_total").increment(1);
        tracing::warn!(gateway = %gateway.incarnation, endpoint = %gateway.endpoint, "gateway takes no deliveries; given up");
    }
}

#[async_trait]
impl Gateways for GrpcGateways {
    async fn deliver(&self, gateway: &Gateway, deliveries: Vec<Delivery>) {
        let batch = DeliverBatch {
            batch_id: 0,
            incarnation: gateway.incarnation.clone(),
            deliveries: deliveries.into_iter().filter_map(encode).collect(),
        };
        let link = self.link(gateway);
        if tokio::time::timeout(self.deadline, link.send(batch))
            .await
            .is_err()
        {
            self.drop_link(gateway);
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

/// Keeps a stream to one gateway. What a broken stream had taken is lost; the gateway tells its connections to sync when the next one opens.
async fn run(
    mut client: AccessGatewayServiceClient<flare_server_core::channels::ServiceChannel>,
    gateway: Gateway,
    mut queue: mpsc::Receiver<DeliverBatch>,
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
        match stream(&mut client, &mut queue, &shutdown).await {
            Ok(End::QueueClosed | End::Drained) => return,
            Ok(End::Broken { delivered }) => {
                if delivered {
                    pauses = backoff.build();
                }
                tracing::info!(gateway = %gateway.incarnation, "stream to gateway ended; opening another");
            }
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
