//! An OTLP collector that stands in the test.

use std::net::SocketAddr;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// So many spans may wait for the test to look at them; then exports wait, too.
const AHEAD: usize = 10_000;

/// A span, and the process that made it.
pub(crate) struct Collected {
    pub(crate) process: Origin,
    pub(crate) span: Span,
}

/// What a process says of itself beside its spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// `service.name`.
    pub(crate) service: String,
    /// `service.instance.id`.
    pub(crate) instance: String,
    /// `flare.roles`.
    pub(crate) roles: Vec<String>,
}

impl Origin {
    fn of(attributes: Vec<KeyValue>) -> Self {
        let mut origin = Self::default();
        for KeyValue { key, value, .. } in attributes {
            match (key.as_str(), value.and_then(|it| it.value)) {
                ("service.name", Some(Value::StringValue(name))) => origin.service = name,
                ("service.instance.id", Some(Value::StringValue(id))) => origin.instance = id,
                ("flare.roles", Some(Value::ArrayValue(roles))) => {
                    let roles = roles.values.into_iter().filter_map(|it| match it.value {
                        Some(Value::StringValue(role)) => Some(role),
                        _ => None,
                    });
                    origin.roles = roles.collect();
                }
                _ => {}
            }
        }
        origin
    }
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
            let process = Origin::of(resource.resource.unwrap_or_default().attributes);
            for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                let collected = Collected {
                    process: process.clone(),
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
