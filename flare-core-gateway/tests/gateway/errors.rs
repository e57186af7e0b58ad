//! One mapping of refusals for both surfaces.

use std::time::Duration;

use flare_proto::{common::ErrorCode, session::GetConversationRequest};
use flare_server_core::error::{Refusal, grpc_code, http_status};
use tonic::Status;

use crate::running::{Running, code, refused, with};

#[tokio::test]
async fn every_code_is_the_same_on_both_surfaces() {
    let (running, _folder) = Running::start().await;
    let key = running.key(&["conversations"]).await;
    let headers = [("x-api-key", key.as_str())];
    let mut grpc = running.grpc().await;
    let codes: Vec<ErrorCode> = (1..=200)
        .filter_map(|it| ErrorCode::try_from(it).ok())
        .collect();
    assert!(codes.len() > 30, "{codes:?}");
    for expected in codes {
        let refusal = Refusal::new(expected, "no, because")
            .with_field("conversation_id")
            .with_retry_after(Duration::from_millis(1_500))
            .with_server_time(1_700_000_000_000);
        running
            .inner
            .refuse_all("SessionService", Status::from(refusal));
        let answer = running
            .call("GET", "/api/v1/conversations/team", &headers, None)
            .await;
        assert_eq!(
            answer.status.as_u16(),
            http_status(expected).as_u16(),
            "{expected:?}"
        );
        assert_eq!(
            answer.json(),
            serde_json::json!({"error": {
                "code": expected.as_str_name(),
                "message": "no, because",
                "field": "conversation_id",
                "retryAfterMs": "1500",
                "serverTimeMs": "1700000000000",
            }})
        );
        assert_eq!(
            answer.header("retry-after"),
            "2",
            "whole seconds, rounded up"
        );
        assert_eq!(answer.header("content-type"), "application/json");
        let request = GetConversationRequest {
            conversation_id: "team".to_owned(),
            ..Default::default()
        };
        let status = grpc
            .get_conversation(with(&headers, request))
            .await
            .expect_err("refused");
        assert_eq!(status.code(), grpc_code(expected), "{expected:?}");
        let error = refused(status);
        assert_eq!(
            (code(&error), error.field.as_str(), error.retry_after_ms),
            (expected, "conversation_id", 1_500)
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_the_same_shape() {
    let (running, _folder) = Running::start().await;
    let answer = running.call("GET", "/api/v1/nothing", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (404, "NOT_FOUND")
    );
    let answer = running.call("PUT", "/api/v1/messages", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (405, "UNKNOWN_METHOD")
    );
    assert_eq!(answer.header("allow"), "POST");
    let answer = running.call("POST", "/api/docs/", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (405, "UNKNOWN_METHOD")
    );
    let answer = running.call("GET", "/nothing", &[], None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (404, "NOT_FOUND")
    );
}

#[tokio::test]
async fn grpc_methods_that_are_not_there_are_refused_with_details() {
    let (running, _folder) = Running::start().await;
    for path in [
        "/flare.gateway.v1.CoreGatewayService/Nothing",
        "/flare.session.v1.SessionService/Authorize",
    ] {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = running.call("POST", path, &headers, Some("")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("grpc-status"), "12", "{path}");
        assert!(
            !answer.header("grpc-status-details-bin").is_empty(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_bears_its_ids() {
    let (running, _folder) = Running::start().await;
    let traced = [
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-request-id", "mine"),
    ];
    let answer = running.call("GET", "/api/v1/inbox", &traced, None).await;
    assert_eq!(
        answer.header("x-trace-id"),
        "0af7651916cd43dd8448eb211c80319c"
    );
    assert_eq!(answer.header("x-request-id"), "mine");
    let answer = running
        .call(
            "GET",
            "/api/v1/inbox",
            &[("x-request-id", "no id/"), ("traceparent", "x")],
            None,
        )
        .await;
    assert_eq!(
        (
            answer.header("x-trace-id").len(),
            answer.header("x-request-id").len()
        ),
        (32, 26)
    );
    let status = running
        .grpc()
        .await
        .get_conversation(GetConversationRequest::default())
        .await
        .expect_err("refused");
    assert_eq!(
        status.metadata().get("x-trace-id").map(|it| it.len()),
        Some(32)
    );
}
