//! Spans on their way to a collector, which stands in this test.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use flare_server_core::{
    clock::IdSource,
    telemetry::{self, Done, LogFormat, ProcessInfo, Telemetry, TelemetryConfig, TraceId},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{Span, status::StatusCode},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

struct Collector(mpsc::Sender<(String, Span)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let service = attributes
                .iter()
                .find(|it| it.key == "service.name")
                .map(|it| format!("{:?}", it.value));
            for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
                self.0
                    .send((service.clone().unwrap_or_default(), span))
                    .await
                    .unwrap();
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (SocketAddr, mpsc::Receiver<(String, Span)>) {
    let (sender, receiver) = mpsc::channel(100);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, receiver)
}

/// Everything that has been exported when the exporter says that all is.
async fn exported(
    telemetry: &Telemetry,
    receiver: &mut mpsc::Receiver<(String, Span)>,
) -> Vec<(String, Span)> {
    let flushing = telemetry.clone();
    tokio::task::spawn_blocking(move || flushing.flush())
        .await
        .unwrap();
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// One test, because a process begins its telemetry once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_sampled_traces_and_of_what_failed_or_was_slow_reach_the_collector() {
    let (address, mut receiver) = collector().await;
    let config = TelemetryConfig {
        level: "off".to_owned(),
        format: LogFormat::Json,
        otlp_endpoint: Some(format!("http://{address}")),
        sample_ratio: 0.5,
        slow_ms: 100,
    };
    let process = ProcessInfo {
        service: "flare-test".to_owned(),
        terminal: false,
        colours: false,
        rust_log: None,
    };
    let telemetry = telemetry::init(&config, &process).unwrap();
    let (ids, spans) = (IdSource::seeded(3), &telemetry.spans);
    let mut minted = std::iter::repeat_with(|| TraceId::mint(&ids));
    let sampled = minted.find(|it| spans.is_sampled(*it)).unwrap();
    let unsampled = minted.find(|it| !spans.is_sampled(*it)).unwrap();

    for trace in [sampled, unsampled] {
        spans
            .open(trace, || tracing::info_span!("send", conversation = "c1"))
            .in_scope(|| {
                tracing::info_span!("append").in_scope(|| ());
            });
    }
    tracing::info_span!("of a library").in_scope(|| ());
    let mut first = exported(&telemetry, &mut receiver).await;
    first.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let names: Vec<_> = first.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["append", "send"],
        "neither the unsampled trace nor a span without a trace"
    );
    assert!(first.iter().all(
        |(service, span)| span.trace_id == sampled.as_bytes() && service.contains("flare-test")
    ));
    assert_eq!(
        first[0].1.parent_span_id, first[1].1.span_id,
        "the inner span hangs on the outer one"
    );

    let done = Done {
        trace: unsampled,
        operation: "deliver",
        started_ms: 1_700_000_000_000,
        took: Duration::from_millis(99),
        error: None,
    };
    spans.report(done);
    spans.report(Done {
        took: Duration::from_millis(100),
        ..done
    });
    spans.report(Done {
        operation: "append",
        error: Some(&"disk gone"),
        ..done
    });
    spans.report(Done {
        trace: sampled,
        error: Some(&"its span is its own"),
        ..done
    });
    let mut reported = exported(&telemetry, &mut receiver).await;
    reported.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let names: Vec<_> = reported
        .iter()
        .map(|(_, span)| span.name.as_str())
        .collect();
    assert_eq!(names, ["append", "deliver"]);
    assert!(
        reported
            .iter()
            .all(|(_, span)| span.trace_id == unsampled.as_bytes())
    );
    let status = reported[0].1.status.clone().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (StatusCode::Error, "disk gone")
    );
    let slow = &reported[1].1;
    assert_eq!(slow.start_time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(
        slow.end_time_unix_nano - slow.start_time_unix_nano,
        100_000_000
    );

    let again = telemetry::init(&TelemetryConfig::default(), &process).unwrap();
    metrics::counter!("flare_test_total").increment(2);
    for handle in [&again.metrics, &telemetry.metrics] {
        assert!(
            handle.render().contains("flare_test_total 2"),
            "the second beginning is the first"
        );
    }
    assert!(again.spans.is_sampled(sampled));
}
