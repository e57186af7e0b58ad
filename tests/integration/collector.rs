//! An OTLP collector that stands in the test.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value,
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// So many spans may wait for the test to look at them; then exports wait, too.
const AHEAD: usize = 10_000;

/// A span, and the process that made it.
pub(crate) struct Collected {
    /// The process's `service.name`.
    pub(crate) service: String,
    pub(crate) span: Span,
}

/// Takes spans as long as it lives.
pub(crate) struct Collector {
    address: SocketAddr,
    collected: mpsc::Receiver<Collected>,
}

impl Collector {
    /// Listens on a free port.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let (sender, collected) = mpsc::channel(AHEAD);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server =
            tonic::transport::Server::builder().add_service(TraceServiceServer::new(Sink(sender)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok(Self { address, collected })
    }

    /// What `telemetry.otlp_endpoint` is to say.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has come since the last call.
    pub(crate) fn take(&mut self) -> Vec<Collected> {
        std::iter::from_fn(|| self.collected.try_recv().ok()).collect()
    }
}

struct Sink(mpsc::Sender<Collected>);

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let name = attributes.into_iter().find(|it| it.key == "service.name");
            let service = match name.and_then(|it| it.value?.value) {
                Some(any_value::Value::StringValue(name)) => name,
                _ => String::new(),
            };
            for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                let collected = Collected {
                    service: service.clone(),
                    span,
                };
                self.0
                    .send(collected)
                    .await
                    .map_err(|_| Status::unavailable("the test has ended"))?;
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
