//! Each limit is reached once.

use std::time::Duration;

use flare_core_gateway::CoreGatewayConfig;
use flare_proto::{
    common::ErrorCode,
    gateway::SendMessageRequest,
    session::{ConversationResponse, GetConversationRequest},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::running::{Running, bearer, code, refused, with};

const PATH: &str = "/api/v1/conversations/team";

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_on_both_surfaces() {
    let (running, _folder) = Running::with(CoreGatewayConfig { max_body_bytes: 64 * 1024, ..Default::default() }).await;
    let key = running.key(&["send"]).await;
    let headers = [("x-api-key", key.as_str())];
    let big = format!(r#"{{"clientId":"{}"}}"#, "x".repeat(70 * 1024));
    let answer = running.call("POST", "/api/v1/messages", &headers, Some(&big)).await;
    assert_eq!((answer.status.as_u16(), answer.refusal().0.as_str()), (413, "FRAME_TOO_LARGE"));
    let request = SendMessageRequest { content: vec![0; 70 * 1024].into(), ..Default::default() };
    let error = refused(running.grpc().await.send_message(with(&headers, request)).await.expect_err("refused"));
    assert_eq!(code(&error), ErrorCode::FrameTooLarge);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let config = CoreGatewayConfig { user_requests_per_s: 1, user_burst: 2, api_key_requests_per_s: 1, api_key_burst: 3, ..Default::default() };
    let (running, _folder) = Running::with(config).await;
    let answering = |_: GetConversationRequest| Ok(ConversationResponse::default());
    running.inner.answer("SessionService/GetConversation", answering);
    let token = bearer(&running.token("alice"));
    let key = running.key(&["conversations", "send"]).await;
    for (headers, burst) in [([("authorization", token.as_str())], 2), ([("x-api-key", key.as_str())], 3)] {
        for _ in 0..burst {
            assert_eq!(running.call("GET", PATH, &headers, None).await.status, 200);
        }
        let answer = running.call("GET", PATH, &headers, None).await;
        assert_eq!((answer.status.as_u16(), answer.refusal().0.as_str()), (429, "RATE_LIMITED"));
        assert_eq!(answer.header("retry-after"), "1");
    }
    let other = running.key(&["conversations"]).await;
    assert_eq!(running.call("GET", PATH, &[("x-api-key", &other)], None).await.status, 200, "a bucket of its own");
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let (running, _folder) = Running::with(CoreGatewayConfig { timeout_ms: 100, ..Default::default() }).await;
    running.inner.fall_silent("SessionService/GetConversation");
    let key = running.key(&["conversations"]).await;
    let headers = [("x-api-key", key.as_str())];
    let answer = running.call("GET", PATH, &headers, None).await;
    assert_eq!((answer.status.as_u16(), answer.refusal().0.as_str()), (504, "DEADLINE_EXCEEDED"));
    let request = GetConversationRequest { conversation_id: "team".to_owned(), ..Default::default() };
    let error = refused(running.grpc().await.get_conversation(with(&headers, request)).await.expect_err("refused"));
    assert_eq!(code(&error), ErrorCode::DeadlineExceeded);
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let (running, _folder) = Running::with(CoreGatewayConfig { max_connections: 1, ..Default::default() }).await;
    let request = b"GET /api/v1/client-config HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = tokio::net::TcpStream::connect(running.address).await.expect("connected");
    first.write_all(request).await.expect("written");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut second = tokio::net::TcpStream::connect(running.address).await.expect("connected");
    second.write_all(request).await.expect("written");
    let waited = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "there was no place for it");
    drop(first);
    second.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_was_begun() {
    let (running, _folder) = Running::start().await;
    let (begun, wait) = (std::sync::Arc::new(tokio::sync::Semaphore::new(0)), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let (seen, gate) = (begun.clone(), wait.clone());
    running.inner.answer("SessionService/GetConversation", move |_: GetConversationRequest| {
        seen.add_permits(1);
        tokio::task::block_in_place(|| gate.wait());
        Ok(ConversationResponse::default())
    });
    let key = running.key(&["conversations"]).await;
    let (url, shutdown) = (running.url(PATH), running.platform.shutdown.clone());
    let asked = tokio::spawn(async move { reqwest::Client::new().get(url).header("x-api-key", key).send().await });
    drop(begun.acquire().await.expect("open"));
    shutdown.drain();
    let stopped = tokio::spawn(running.stop());
    assert!(!stopped.is_finished());
    tokio::task::spawn_blocking(move || wait.wait()).await.expect("let go");
    assert_eq!(asked.await.expect("no panic").expect("an answer").status(), 200);
    stopped.await.expect("no panic");
}
