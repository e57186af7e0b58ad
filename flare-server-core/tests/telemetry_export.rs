//! Spans on their way to a collector, which stands in this test.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../tests/integration/collector.rs"]
mod collector;

use std::{convert::Infallible, time::Duration};

use collector::{Collected, Collector, Origin};
use flare_server_core::{
    clock::IdSource,
    telemetry::{
        self, About, CallSpans, Done, LogFormat, ProcessInfo, Spans, Telemetry, TelemetryConfig,
        TraceId,
    },
};
use http::{Request, Response};
use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::status::StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tracing::Instrument;

/// Everything that has been exported when the exporter says that all is, by name.
async fn exported(telemetry: &Telemetry, collector: &mut Collector) -> Vec<Collected> {
    let flushing = telemetry.clone();
    tokio::task::spawn_blocking(move || flushing.flush())
        .await
        .unwrap();
    let mut exported = collector.take();
    exported.sort_by(|a, b| a.span.name.cmp(&b.span.name));
    exported
}

fn names(exported: &[Collected]) -> Vec<&str> {
    exported.iter().map(|it| it.span.name.as_str()).collect()
}

/// Serves one call that comes from another process.
async fn serve(spans: &Spans, traceparent: &str, status: &'static str) {
    let service =
        CallSpans::new(spans.clone()).layer(service_fn(move |_: Request<()>| async move {
            tracing::info_span!("read").in_scope(|| ());
            let answer = Response::builder().header("grpc-status", status).body(());
            Ok::<_, Infallible>(answer.unwrap())
        }));
    let call = Request::get("/flare.test.v1.TestService/Get")
        .header("traceparent", traceparent)
        .body(());
    service.oneshot(call.unwrap()).await.unwrap();
}

/// One test, because a process begins its telemetry once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_sampled_traces_and_of_what_failed_or_was_slow_reach_the_collector() {
    let mut collector = Collector::start().await.unwrap();
    let config = TelemetryConfig {
        level: "off".to_owned(),
        format: LogFormat::Json,
        otlp_endpoint: Some(collector.endpoint()),
        sample_ratio: 0.5,
        slow_ms: 100,
    };
    let process = ProcessInfo {
        service: "flare-test".to_owned(),
        instance: "one".to_owned(),
        roles: vec!["reader".to_owned(), "writer".to_owned()],
        terminal: false,
        colours: false,
        rust_log: None,
    };
    let telemetry = telemetry::init(&config, &process).unwrap();
    let (ids, spans) = (IdSource::seeded(3), &telemetry.spans);
    let mut minted = std::iter::repeat_with(|| TraceId::mint(&ids));
    let sampled = minted.find(|it| spans.is_sampled(*it)).unwrap();
    let unsampled = minted.find(|it| !spans.is_sampled(*it)).unwrap();
    assert_eq!(spans.sampled(sampled.as_bytes()), Some(sampled));
    assert_eq!(spans.sampled(unsampled.as_bytes()), None);
    assert_eq!(spans.sampled(b"no trace id"), None);

    for trace in [sampled, unsampled] {
        spans
            .open(trace, || tracing::info_span!("send", conversation = "c1"))
            .in_scope(|| {
                tracing::info_span!("append").in_scope(|| ());
            });
    }
    tracing::info_span!("of a library").in_scope(|| ());
    let first = exported(&telemetry, &mut collector).await;
    assert_eq!(
        names(&first),
        ["append", "send"],
        "neither the unsampled trace nor a span without a trace"
    );
    assert!(first.iter().all(|it| it.span.trace_id == sampled.as_bytes()
        && it.process
            == Origin {
                service: "flare-test".to_owned(),
                instance: "one".to_owned(),
                roles: process.roles.clone(),
            }));
    assert_eq!(
        first[0].span.parent_span_id, first[1].span.span_id,
        "the inner span hangs on the outer one"
    );

    // What is told when it is over.
    let done = Done {
        trace: Some(unsampled),
        operation: "deliver",
        took: Duration::from_millis(99),
        about: &[
            ("conversation", About::Text("c1")),
            ("events", About::Number(3)),
        ],
        error: None,
    };
    let failed = Done {
        operation: "append",
        error: Some(&"disk gone"),
        ..done
    };
    spans.report(&done);
    spans.report(&Done {
        took: Duration::from_millis(100),
        ..done
    });
    spans.report(&failed);
    spans.report(&Done {
        trace: Some(sampled),
        error: Some(&"its span is its own"),
        ..done
    });
    spans.record(&tracing::Span::none(), &done);
    let reported = exported(&telemetry, &mut collector).await;
    assert_eq!(names(&reported), ["append", "deliver"]);
    assert!(
        reported
            .iter()
            .all(|it| it.span.trace_id == unsampled.as_bytes())
    );
    let status = reported[0].span.status.clone().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (StatusCode::Error, "disk gone")
    );
    let slow = &reported[1].span;
    assert_eq!(
        slow.end_time_unix_nano - slow.start_time_unix_nano,
        100_000_000
    );
    let attribute = |key: &str| {
        let attribute = slow.attributes.iter().find(|it| it.key == key)?;
        attribute.value.clone()?.value
    };
    assert_eq!(
        attribute("conversation"),
        Some(Value::StringValue("c1".to_owned()))
    );
    assert_eq!(attribute("events"), Some(Value::IntValue(3)));

    // Steps of a batch, made afterwards, and an opened span whose operation failed.
    let whole = spans.open(sampled, || tracing::info_span!("whole"));
    spans.record(
        &whole,
        &Done {
            trace: Some(sampled),
            operation: "a part",
            ..done
        },
    );
    let failed = Done {
        trace: Some(sampled),
        ..failed
    };
    spans.end(whole, &failed);
    spans.record(
        &tracing::Span::none(),
        &Done {
            trace: Some(sampled),
            operation: "alone",
            ..done
        },
    );
    let recorded = exported(&telemetry, &mut collector).await;
    assert_eq!(names(&recorded), ["a part", "alone", "whole"]);
    assert_eq!(
        recorded[0].span.parent_span_id, recorded[2].span.span_id,
        "the part hangs on the whole"
    );
    let status = recorded[2].span.status.clone().unwrap();
    assert_eq!(
        (status.code(), status.message.as_str()),
        (StatusCode::Error, "disk gone")
    );
    assert!(
        recorded
            .iter()
            .all(|it| it.span.trace_id == sampled.as_bytes())
    );

    // Calls from other processes.
    let caller = "00f067aa0ba902b7";
    serve(spans, &format!("00-{sampled}-{caller}-01"), "0")
        .instrument(tracing::info_span!("of a library"))
        .await;
    serve(spans, &format!("00-{unsampled}-{caller}-01"), "0").await;
    serve(spans, "nonsense", "0").await;
    let called = exported(&telemetry, &mut collector).await;
    assert_eq!(names(&called), ["read", "rpc"]);
    assert_eq!(called[0].span.parent_span_id, called[1].span.span_id);
    let rpc = &called[1].span;
    assert_eq!(rpc.trace_id, sampled.as_bytes());
    assert_eq!(rpc.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert!(rpc.attributes.iter().any(|it| it.key == "rpc.method"
        && it.value.as_ref().and_then(|it| it.value.clone())
            == Some(Value::StringValue(
                "flare.test.v1.TestService/Get".to_owned()
            ))));
    for (status, failed) in [("5", false), ("13", true)] {
        serve(spans, &format!("00-{sampled}-{caller}-01"), status).await;
        let called = exported(&telemetry, &mut collector).await;
        let status = called[1].span.status.clone().unwrap_or_default();
        assert_eq!(status.code() == StatusCode::Error, failed, "{status:?}");
    }

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
