//! Streams to a gateway that is played by the test.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
    registry::{StaticRegistry, service},
    shutdown::Shutdown,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, service::Routes};

const SOON: Duration = Duration::from_secs(20);

/// A gateway that reads no stream before the `reads_from`th.
struct Stalling {
    reads_from: usize,
    streams: AtomicUsize,
    opened: mpsc::Sender<usize>,
    read: mpsc::Sender<DeliverBatch>,
}

#[tonic::async_trait]
impl AccessGatewayService for Stalling {
    type DeliverStream = ReceiverStream<Result<DeliverOutcome, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverBatch>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let stream = self.streams.fetch_add(1, Ordering::SeqCst) + 1;
        self.opened.send(stream).await.unwrap();
        let (outcomes, answered) = mpsc::channel(1);
        let (reads, read) = (stream >= self.reads_from, self.read.clone());
        let mut batches = request.into_inner();
        tokio::spawn(async move {
            while reads && let Ok(Some(batch)) = batches.message().await {
                read.send(batch).await.unwrap();
            }
            // Neither reads nor ends.
            outcomes.closed().await;
            drop(batches);
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

fn event(text: String) -> Vec<Delivery> {
    vec![Delivery {
        payload: Payload::Event(Bytes::from(text)),
        connections: vec![1],
    }]
}

/// The gateway tells its connections to sync when another stream opens. If that came with the next delivery only, who had missed the last
/// message of a quiet day would not know of it until the day after.
#[tokio::test]
async fn what_a_stuck_gateway_missed_is_made_up_for_though_nothing_more_comes() {
    let (opened, mut streams) = mpsc::channel(16);
    let (read, mut batches) = mpsc::channel(16);
    let gateway = Stalling {
        reads_from: 2,
        streams: AtomicUsize::new(0),
        opened,
        read,
    };
    let shutdown = Shutdown::new();
    let channels = Channels::new(Arc::new(StaticRegistry::default()), None, shutdown.clone());
    let routes = Routes::new(AccessGatewayServiceServer::new(gateway));
    channels.serve_local(routes, vec![service::ACCESS_GATEWAY], None);
    let gateways = GrpcGateways::new(channels, shutdown, 1, Duration::from_millis(50));
    let gateway = Gateway {
        incarnation: "g".to_owned(),
        endpoint: String::new(),
    };

    // More than stream and queue hold.
    for number in 0..20 {
        gateways
            .deliver(&gateway, event(format!("early {number}")))
            .await;
    }
    for stream in [1, 2] {
        let opened = timeout(SOON, streams.recv()).await;
        assert_eq!(opened.unwrap(), Some(stream));
    }
    // What comes from now on is delivered.
    gateways.deliver(&gateway, event("late".to_owned())).await;
    loop {
        let batch = timeout(SOON, batches.recv()).await.unwrap().unwrap();
        assert_eq!(batch.incarnation, "g");
        if format!("{batch:?}").contains("late") {
            break;
        }
    }
}
