//! Streams to gateways that are played by the test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flare_proto::access::{
    CloseConnectionsRequest, CloseConnectionsResponse, DeliverBatch, DeliverOutcome,
    access_gateway_service_server::{AccessGatewayService, AccessGatewayServiceServer},
};
use flare_push_server::{
    application::ports::{Delivery, Gateway, Gateways, Payload},
    infrastructure::grpc_gateways::GrpcGateways,
};
use flare_server_core::{
    channels::Channels,
    readiness::Readiness,
    registry::{Registry, service},
    shutdown::Shutdown,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, service::Routes, transport::Server};

const SOON: Duration = Duration::from_secs(20);
/// Longer than a gateway is tried in vain that nobody names.
const LONG: Duration = Duration::from_secs(2 * 3_600);

/// A gateway.
struct Played {
    is_away: Arc<AtomicBool>,
    reads_from: usize,
    streams: AtomicUsize,
    opened: mpsc::Sender<usize>,
    read: mpsc::Sender<DeliverBatch>,
}

/// What comes to a played gateway.
struct Heard {
    is_away: Arc<AtomicBool>,
    streams: mpsc::Receiver<usize>,
    batches: mpsc::Receiver<DeliverBatch>,
}

/// One that reads no stream before the `reads_from`th.
fn played(reads_from: usize) -> (Routes, Heard) {
    let (opened, streams) = mpsc::channel(16);
    let (read, batches) = mpsc::channel(16);
    let is_away = Arc::new(AtomicBool::new(false));
    let played = Played {
        is_away: Arc::clone(&is_away),
        reads_from,
        streams: AtomicUsize::new(0),
        opened,
        read,
    };
    let heard = Heard {
        is_away,
        streams,
        batches,
    };
    (Routes::new(AccessGatewayServiceServer::new(played)), heard)
}

impl Heard {
    async fn stream(&mut self, number: usize) {
        let opened = timeout(SOON, self.streams.recv()).await;
        assert_eq!(opened.expect("a stream is opened"), Some(number));
    }

    async fn batch(&mut self) -> String {
        let batch = timeout(SOON, self.batches.recv()).await;
        format!("{:?}", batch.expect("in time").expect("a batch"))
    }
}

#[tonic::async_trait]
impl AccessGatewayService for Played {
    type DeliverStream = ReceiverStream<Result<DeliverOutcome, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverBatch>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("nobody is there"));
        }
        let stream = self.streams.fetch_add(1, Ordering::SeqCst) + 1;
        self.opened.send(stream).await.unwrap();
        let (outcomes, answered) = mpsc::channel(1);
        let (reads, read) = (stream >= self.reads_from, self.read.clone());
        let mut batches = request.into_inner();
        tokio::spawn(async move {
            while reads && let Ok(Some(batch)) = batches.message().await {
                read.send(batch).await.unwrap();
            }
            if !reads {
                // Neither reads nor ends.
                outcomes.closed().await;
                drop(batches);
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn close_connections(
        &self,
        _: Request<CloseConnectionsRequest>,
    ) -> Result<Response<CloseConnectionsResponse>, Status> {
        Err(Status::unimplemented("nobody closes here"))
    }
}

/// A registry that comes to know of gateways.
#[derive(Default)]
struct Named {
    gateways: watch::Sender<Vec<String>>,
    nowhere: watch::Sender<Vec<String>>,
}

impl Registry for Named {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        if service == service::ACCESS_GATEWAY {
            self.gateways.subscribe()
        } else {
            self.nowhere.subscribe()
        }
    }
}

/// Streams from a process that serves `routes` to itself, as `services`.
fn streams(
    registry: Arc<Named>,
    routes: Routes,
    services: Vec<&'static str>,
) -> (Arc<GrpcGateways>, Shutdown) {
    let shutdown = Shutdown::new();
    let channels = Channels::new(registry, None, None, shutdown.clone());
    channels.serve_local(routes, services, None);
    let deadline = Duration::from_millis(50);
    let gateways = GrpcGateways::new(channels, shutdown.clone(), 1, deadline);
    (Arc::new(gateways), shutdown)
}

fn here() -> Gateway {
    Gateway {
        incarnation: "g".to_owned(),
        endpoint: String::new(),
    }
}

fn event(text: String) -> Vec<Delivery> {
    vec![Delivery {
        members: None,
        payload: Payload::Event(Bytes::from(text)),
        connections: vec![1],
    }]
}

/// Who missed something when the last stream ended, or before there was one, is told by the opening of the next.
#[tokio::test]
async fn a_gateway_has_its_stream_as_soon_as_it_is_known_and_one_of_this_process_at_the_start() {
    let registry = Arc::new(Named::default());
    let (routes, mut own) = played(1);
    let (gateways, shutdown) =
        streams(Arc::clone(&registry), routes, vec![service::ACCESS_GATEWAY]);
    let readiness = Readiness::default();
    let ready = readiness.register("push-server");
    let keeping = tokio::spawn(async move { gateways.keep_open(ready).await });
    let is_ready = timeout(SOON, readiness.all_ready()).await;
    is_ready.expect("in time").expect("ready");
    assert_eq!(own.streams.try_recv(), Ok(1), "open before it is ready");

    let (routes, mut other) = played(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder()
        .add_routes(routes)
        .serve_with_incoming(TcpListenerStream::new(listener));
    let serving = tokio::spawn(serving);
    registry.gateways.send_replace(vec![endpoint]);
    other.stream(1).await;

    shutdown.drain();
    timeout(SOON, keeping).await.expect("ends").unwrap();
    serving.abort();
}

/// The gateway tells its connections to sync when another stream opens. If that came with the next delivery only, who had missed the last
/// message of a quiet day would not know of it until the day after.
#[tokio::test]
async fn what_a_stuck_gateway_missed_is_made_up_for_though_nothing_more_comes() {
    let (routes, mut heard) = played(2);
    let (gateways, _shutdown) = streams(Arc::default(), routes, Vec::new());
    // More than stream and queue hold.
    for number in 0..20 {
        let early = event(format!("early {number}"));
        gateways.deliver(&here(), early).await;
    }
    heard.stream(1).await;
    heard.stream(2).await;
    // What comes from now on is delivered.
    gateways.deliver(&here(), event("late".to_owned())).await;
    while !heard.batch().await.contains("late") {}
}

#[tokio::test]
async fn what_was_handed_over_when_the_process_drains_is_put_out() {
    let (routes, mut heard) = played(1);
    let (gateways, shutdown) = streams(Arc::default(), routes, Vec::new());
    gateways.deliver(&here(), event("early".to_owned())).await;
    shutdown.drain();
    // Of the batch that is in hand.
    gateways.deliver(&here(), event("late".to_owned())).await;
    gateways.close().await;
    assert!(heard.batch().await.contains("early"));
    assert!(heard.batch().await.contains("late"));
}

/// By the stream that opens.
#[tokio::test]
async fn whoever_is_to_be_told_something_everybody_can_be_told_to_sync() {
    let (routes, mut heard) = played(1);
    let (gateways, _shutdown) = streams(Arc::default(), routes, Vec::new());
    gateways.deliver(&here(), event("early".to_owned())).await;
    heard.stream(1).await;
    gateways.start_over();
    heard.stream(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_known_without_a_delivery_is_never_given_up() {
    let (routes, mut heard) = played(1);
    let own = vec![service::ACCESS_GATEWAY];
    let (gateways, _shutdown) = streams(Arc::default(), routes, own);
    heard.is_away.store(true, Ordering::SeqCst);
    gateways.deliver(&here(), event("early".to_owned())).await;
    let opened = timeout(LONG, heard.streams.recv()).await;
    assert!(opened.is_err(), "{opened:?}");
    heard.is_away.store(false, Ordering::SeqCst);
    heard.stream(1).await;
    assert!(heard.batch().await.contains("early"));
}

/// What waited for it is lost; nothing reaches its connections before they were told to sync.
#[tokio::test(start_paused = true)]
async fn what_a_forgotten_gateway_missed_is_made_up_for_by_the_stream_of_the_next_delivery() {
    let (routes, mut heard) = played(1);
    let (gateways, _shutdown) = streams(Arc::default(), routes, Vec::new());
    heard.is_away.store(true, Ordering::SeqCst);
    gateways.deliver(&here(), event("early".to_owned())).await;
    for is_away in [true, false] {
        heard.is_away.store(is_away, Ordering::SeqCst);
        let opened = timeout(LONG, heard.streams.recv()).await;
        assert!(opened.is_err(), "{opened:?}");
    }
    gateways.deliver(&here(), event("late".to_owned())).await;
    heard.stream(1).await;
    assert!(heard.batch().await.contains("late"));
}
