//! Each limit is reached once.

use std::{sync::LazyLock, time::Duration};

use flare_core_gateway::CoreGatewayConfig;
use flare_proto::{
    common::ErrorCode,
    gateway::{SendMessageRequest, SendMessagesRequest},
    session::{ConversationResponse, GetConversationRequest},
};
use flare_server_core::telemetry::{MetricsHandle, recorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::running::{Running, bearer, code, refused, with};

/// What the whole test binary counts: sums only rise, so each test looks for its own labels.
static METRICS: LazyLock<MetricsHandle> = LazyLock::new(|| {
    let (recorder, handle) = recorder();
    metrics::set_global_recorder(recorder).expect("no other recorder");
    handle
});

/// The sum of the samples whose line begins so.
fn metric(line: &str) -> f64 {
    let text = METRICS.render();
    text.lines()
        .filter(|it| it.starts_with(line))
        .filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

const PATH: &str = "/api/v1/conversations/team";

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_on_both_surfaces() {
    LazyLock::force(&METRICS);
    let (running, _folder) = Running::with(CoreGatewayConfig {
        max_body_bytes: 64 * 1024,
        ..Default::default()
    })
    .await;
    let key = running.key(&["send"]).await;
    let headers = [("x-api-key", key.as_str())];
    let big = format!(r#"{{"clientId":"{}"}}"#, "x".repeat(70 * 1024));
    let answer = running
        .call("POST", "/api/v1/messages", &headers, Some(&big))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (413, "FRAME_TOO_LARGE")
    );
    let request = SendMessageRequest {
        content: vec![0; 70 * 1024].into(),
        ..Default::default()
    };
    let error = refused(
        running
            .grpc()
            .await
            .send_message(with(&headers, request))
            .await
            .expect_err("refused"),
    );
    assert_eq!(code(&error), ErrorCode::FrameTooLarge);
    let counted = r#"flare_core_gateway_requests_total{surface="http",route="POST /api/v1/messages",code="413"}"#;
    assert!(metric(counted) > 0.0, "{}", METRICS.render());
    let counted = r#"flare_core_gateway_requests_total{surface="grpc",route="SendMessage",code="InvalidArgument"}"#;
    assert!(metric(counted) > 0.0, "{}", METRICS.render());
}

#[tokio::test]
async fn a_list_without_end_is_refused_before_it_takes_memory() {
    let (running, _folder) = Running::start().await;
    let token = bearer(&running.token("alice"));
    let headers = [("authorization", token.as_str())];
    let many = format!(r#"{{"messages":[{}]}}"#, vec!["{}"; 60_000].join(","));
    let answer = running
        .call("POST", "/api/v1/messages:batch", &headers, Some(&many))
        .await;
    assert_eq!(answer.refusal().0, "INVALID_ARGUMENT");
    assert!(answer.text.contains("50000 values"), "{}", answer.text);
    let request = SendMessagesRequest {
        messages: vec![SendMessageRequest::default(); 20_000],
        ..Default::default()
    };
    let mut grpc = running.grpc().await;
    let error = refused(
        grpc.send_messages(with(&headers, request))
            .await
            .expect_err("refused"),
    );
    assert_eq!(code(&error), ErrorCode::InvalidArgument);
    assert!(error.message.contains("10000 fields"), "{}", error.message);
}

#[tokio::test]
async fn a_batch_or_body_above_the_burst_costs_a_full_bucket_and_no_more() {
    let config = CoreGatewayConfig {
        user_requests_per_s: 1,
        user_burst: 10,
        ..Default::default()
    };
    let (running, _folder) = Running::with(config).await;
    let batch = r#"{"messages":[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}"#;
    let spaces = " ".repeat(1024 * 1024);
    let long = format!(r#"{{"messages":[{{}}]{spaces}}}"#);
    for (user, body) in [("alice", batch), ("bob", &long)] {
        let token = bearer(&running.token(user));
        let headers = [("authorization", token.as_str())];
        let answers = [body, r#"{"messages":[{}]}"#]
            .map(|body| running.call("POST", "/api/v1/messages:batch", &headers, Some(body)));
        let [first, second] = answers;
        let first = first.await;
        assert_eq!(first.status, 200, "{user}: {}", first.text);
        assert_eq!(second.await.refusal().0, "RATE_LIMITED", "{user}");
    }
}

#[tokio::test]
async fn bodies_together_take_so_much_room_and_are_refused_beyond_it() {
    let (running, _folder) = Running::with(CoreGatewayConfig {
        max_body_bytes: 64 * 1024,
        ..Default::default()
    })
    .await;
    let key = running.key(&["send"]).await;
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 65536\r\n\r\n"
    );
    let (answers, mut answered) = tokio::sync::mpsc::channel(80);
    let mut senders = Vec::new();
    for _ in 0..80 {
        let mut stream = tokio::net::TcpStream::connect(running.address)
            .await
            .expect("connected");
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(&[b' '; 65_000]).await.expect("written");
        let (mut reader, writer) = stream.into_split();
        senders.push(writer);
        let answers = answers.clone();
        tokio::spawn(async move {
            let mut answer = [0; 12];
            if reader.read_exact(&mut answer).await.is_ok() {
                let _ = answers.send(answer).await;
            }
        });
    }
    // 64 of the longest have room; whoever is refused gives up what he had.
    for _ in 0..16 {
        let answer = tokio::time::timeout(Duration::from_secs(5), answered.recv());
        let answer = answer.await.expect("in time").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 429");
    }
    drop(senders);
    let body = r#"{"conversationId":"team","clientId":"c","content":{"text":{"text":"hi"}}}"#;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let answer = running
            .call(
                "POST",
                "/api/v1/messages",
                &[("x-api-key", &key)],
                Some(body),
            )
            .await;
        if answer.status != 429 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn strangers_ask_short_questions_of_health_and_reflection() {
    let (running, _folder) = Running::start().await;
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let ask = |length: usize| ServerReflectionRequest {
        host: "x".repeat(length),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    for (length, is_answered) in [(10, true), (10_000, false)] {
        let asked = reflection
            .server_reflection_info(futures::stream::iter([ask(length)]))
            .await;
        let answer = match asked {
            Ok(answers) => answers.into_inner().message().await.ok().flatten(),
            Err(_) => None,
        };
        assert_eq!(answer.is_some(), is_answered, "{length} bytes: {answer:?}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_let_go() {
    let (running, _folder) = Running::start().await;
    tokio::time::pause();
    for said in [&b""[..], b"P", b"GET / HT"] {
        let mut stream = tokio::net::TcpStream::connect(running.address)
            .await
            .expect("connected");
        stream.write_all(said).await.expect("written");
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest));
        assert!(ended.await.is_ok(), "{said:?} holds a place for ever");
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let config = CoreGatewayConfig {
        user_requests_per_s: 1,
        user_burst: 2,
        api_key_requests_per_s: 1,
        api_key_burst: 3,
        ..Default::default()
    };
    LazyLock::force(&METRICS);
    let (running, _folder) = Running::with(config).await;
    let answering = |_: GetConversationRequest| Ok(ConversationResponse::default());
    running
        .inner
        .answer("SessionService/GetConversation", answering);
    let token = bearer(&running.token("alice"));
    let key = running.key(&["conversations", "send"]).await;
    for (headers, burst) in [
        ([("authorization", token.as_str())], 2),
        ([("x-api-key", key.as_str())], 3),
    ] {
        for _ in 0..burst {
            assert_eq!(running.call("GET", PATH, &headers, None).await.status, 200);
        }
        let answer = running.call("GET", PATH, &headers, None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.refusal().0.as_str()),
            (429, "RATE_LIMITED")
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    for by in ["user", "api_key"] {
        assert!(
            metric(&format!(
                r#"flare_core_gateway_rate_limited_total{{by="{by}"}}"#
            )) > 0.0,
            "{by}"
        );
    }
    let other = running.key(&["conversations"]).await;
    assert_eq!(
        running
            .call("GET", PATH, &[("x-api-key", &other)], None)
            .await
            .status,
        200,
        "a bucket of its own"
    );
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    LazyLock::force(&METRICS);
    let (running, _folder) = Running::with(CoreGatewayConfig {
        timeout_ms: 100,
        ..Default::default()
    })
    .await;
    running.inner.fall_silent("SessionService/GetConversation");
    let key = running.key(&["conversations"]).await;
    let headers = [("x-api-key", key.as_str())];
    let answer = running.call("GET", PATH, &headers, None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.refusal().0.as_str()),
        (504, "DEADLINE_EXCEEDED")
    );
    let request = GetConversationRequest {
        conversation_id: "team".to_owned(),
        ..Default::default()
    };
    let error = refused(
        running
            .grpc()
            .await
            .get_conversation(with(&headers, request))
            .await
            .expect_err("refused"),
    );
    assert_eq!(code(&error), ErrorCode::DeadlineExceeded);
    let took = r#"flare_core_gateway_request_seconds_count{surface="http",route="GET /api/v1/conversations/{conversation_id}"}"#;
    assert!(metric(took) > 0.0, "{}", METRICS.render());
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    LazyLock::force(&METRICS);
    let (running, _folder) = Running::with(CoreGatewayConfig {
        max_connections: 1,
        ..Default::default()
    })
    .await;
    let request = b"GET /api/v1/client-config HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = tokio::net::TcpStream::connect(running.address)
        .await
        .expect("connected");
    first.write_all(request).await.expect("written");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut second = tokio::net::TcpStream::connect(running.address)
        .await
        .expect("connected");
    second.write_all(request).await.expect("written");
    let waited =
        tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
    assert!(waited.is_err(), "there was no place for it");
    assert!(
        metric("flare_core_gateway_connection_limit_total") > 0.0
            && metric("flare_core_gateway_connections ") > 0.0
    );
    drop(first);
    second.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_was_begun() {
    let (running, _folder) = Running::start().await;
    let (begun, wait) = (
        std::sync::Arc::new(tokio::sync::Semaphore::new(0)),
        std::sync::Arc::new(std::sync::Barrier::new(2)),
    );
    let (seen, gate) = (begun.clone(), wait.clone());
    running.inner.answer(
        "SessionService/GetConversation",
        move |_: GetConversationRequest| {
            seen.add_permits(1);
            tokio::task::block_in_place(|| gate.wait());
            Ok(ConversationResponse::default())
        },
    );
    let key = running.key(&["conversations"]).await;
    let (url, shutdown) = (running.url(PATH), running.platform.shutdown.clone());
    let asked = tokio::spawn(async move {
        reqwest::Client::new()
            .get(url)
            .header("x-api-key", key)
            .send()
            .await
    });
    drop(begun.acquire().await.expect("open"));
    shutdown.drain();
    let stopped = tokio::spawn(running.stop());
    assert!(!stopped.is_finished());
    tokio::task::spawn_blocking(move || wait.wait())
        .await
        .expect("let go");
    assert_eq!(
        asked.await.expect("no panic").expect("an answer").status(),
        200
    );
    stopped.await.expect("no panic");
}

#[tokio::test]
async fn a_sender_that_never_ends_is_given_up_and_a_stranger_is_not_even_read() {
    let (running, _folder) = Running::with(CoreGatewayConfig {
        timeout_ms: 200,
        ..Default::default()
    })
    .await;
    let key = running.key(&["send"]).await;
    for (credentials, expected) in [
        (format!("x-api-key: {key}\r\n"), "504"),
        (String::new(), "401"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(running.address)
            .await
            .expect("connected");
        let head = format!(
            "POST /api/v1/messages HTTP/1.1\r\nhost: x\r\n{credentials}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("answered");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {expected}")
        );
    }
}
