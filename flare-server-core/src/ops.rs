//! The port for whoever runs the process: is it alive, is it ready, how is it doing.

#[cfg(target_os = "linux")]
mod process;

use axum::{
    Json, Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{readiness::Readiness, telemetry::MetricsHandle};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/livez`: 200 as long as the process answers. `/readyz`: 200, or 503 naming the parts that are not ready. `/metrics`: Prometheus.
pub fn router(readiness: Readiness, metrics: MetricsHandle) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { readyz(&readiness) }))
        .route(
            "/metrics",
            get(move || async move {
                look();
                ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render())
            }),
        )
}

/// Sets what is only known when it is looked at: tasks, and what the operating system says of the process, where it is Linux.
fn look() {
    let tasks = Handle::current().metrics().num_alive_tasks();
    metrics::gauge!("flare_runtime_tasks").set(tasks as f64);
    #[cfg(target_os = "linux")]
    if let Err(error) = process::look() {
        tracing::warn!(%error, "the operating system does not say how the process is");
    }
}

/// The body of `/readyz`.
#[derive(Serialize)]
struct ReadyReport {
    ready: bool,
    waiting_for: Vec<String>,
}

fn readyz(readiness: &Readiness) -> impl IntoResponse + use<> {
    let report = readiness.report();
    let waiting_for: Vec<_> = report
        .into_iter()
        .filter(|(_, ready)| !ready)
        .map(|(part, _)| part)
        .collect();
    let ready = waiting_for.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(ReadyReport { ready, waiting_for }))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;
    use crate::telemetry::recorder;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_is_said_when_every_part_is_and_what_waits_is_named() {
        let readiness = Readiness::default();
        let router = router(readiness.clone(), recorder().1);
        let store = readiness.register("store");
        let link = readiness.register("link");
        store.set(true);
        let (status, body) = get(&router, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, r#"{"ready":false,"waiting_for":["link"]}"#);
        link.set(true);
        assert_eq!(
            get(&router, "/readyz").await,
            (
                StatusCode::OK,
                r#"{"ready":true,"waiting_for":[]}"#.to_owned()
            )
        );
        drop(store);
        assert_eq!(
            get(&router, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn a_process_that_is_not_ready_is_alive() {
        let readiness = Readiness::default();
        let _part = readiness.register("store");
        assert_eq!(
            get(&router(readiness, recorder().1), "/livez").await.0,
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn metrics_are_those_of_the_recorder() {
        let (recorder, metrics) = recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("flare_acks_total").increment(3)
        });
        let (status, body) = get(&router(Readiness::default(), metrics), "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("flare_acks_total 3"), "{body}");
    }
}
