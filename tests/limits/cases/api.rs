//! gRPC and HTTP.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_core::json::MAX_VALUES;
use flare_core_gateway::handler::body::{LONGEST_AT_ONCE, MAX_FIELDS};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Endpoint;

use super::metric::{API, API_RATES};
use crate::{
    answer::Answer,
    case::{Case, Series},
    ground::{Ground, Shape},
    http::Proof,
    until::until,
};

const IDLE_CLOSED: &str = "flare_core_gateway_idle_connections_closed_total";
const CLIENT_CONFIG: &[u8] = b"GET /api/v1/client-config HTTP/1.1\r\nhost: flare\r\n\r\n";
/// For so long nothing comes to one who waits to be let in.
const A_WHILE: Duration = Duration::from_millis(300);
/// What has not come by then will not come.
const SOON: Duration = Duration::from_secs(20);
/// Keys that are made at once.
const MAKERS: usize = 8;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("Connections at once", |it| Box::pin(second_connection(it)))
            .set(&["core_gateway.max_connections=1"])
            .seen("flare_core_gateway_connection_limit_total", ""),
        Case::new("Connections at once from one address", |it| {
            Box::pin(second_of_address(it))
        })
        .set(&["core_gateway.max_connections_per_ip=1"])
        .seen("flare_core_gateway_connections_refused_total", ""),
        Case::new("Time without a request", |it| Box::pin(idle(it)))
            .set(&["core_gateway.idle_ms=200"])
            .seen(IDLE_CLOSED, ""),
        Case::new("Bytes of a request", |it| Box::pin(long_request(it)))
            .set(&["core_gateway.max_body_bytes=65536"])
            .seen(API, "413"),
        Case::new(
            "Bodies of requests that are held at once, counted in longest ones",
            |it| Box::pin(many_bodies(it)),
        )
        .set(&["core_gateway.max_body_bytes=65536"])
        .seen(API, "429"),
        Case::new("Fields and elements of lists of a gRPC request", |it| {
            Box::pin(many_fields(it))
        })
        .seen(API, "InvalidArgument"),
        Case::new("Values in the JSON of a request", |it| {
            Box::pin(many_values(it))
        })
        .seen(API, "400"),
        Case::new("Time of a request", |it| Box::pin(late_answer(it)))
            .on(Shape::SilentServices)
            .set(&["core_gateway.timeout_ms=100"])
            .seen(API, "504")
            .seen(API, "DeadlineExceeded"),
        Case::new("Requests of one user a second", |it| {
            Box::pin(fast_user(it))
        })
        .set(&[
            "core_gateway.user_requests_per_s=1",
            "core_gateway.user_burst=1",
        ])
        .seen(API_RATES, "user"),
        Case::new("Requests by one API key a second", |it| {
            Box::pin(fast_key(it))
        })
        .set(&[
            "core_gateway.api_key_requests_per_s=1",
            "core_gateway.api_key_burst=1",
        ])
        .seen(API_RATES, "api_key"),
        Case::new("Messages of one batch", |it| Box::pin(long_batch(it)))
            .seen(API, "400")
            .seen(API, "InvalidArgument"),
        Case::new("Users of one presence query", |it| Box::pin(many_users(it)))
            .seen(API, "400")
            .seen(API, "InvalidArgument"),
        Case::new("Characters of the reason of a kick", |it| {
            Box::pin(long_reason(it))
        })
        .seen(API, "400")
        .seen(API, "InvalidArgument"),
        Case::new("Good API keys of a tenant", |it| Box::pin(many_keys(it))).seen(API, "409"),
    ]
}

/// The second is taken when the first has gone.
async fn second_connection(ground: &Ground) -> anyhow::Result<()> {
    let address = ground.api()?;
    let request = format!("GET /api/v1/client-config HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut first = TcpStream::connect(address).await?;
    first.write_all(request.as_bytes()).await?;
    let mut answer = [0; 16];
    timeout(SOON, first.read_exact(&mut answer)).await??;
    let mut second = TcpStream::connect(address).await?;
    second.write_all(request.as_bytes()).await?;
    let early = timeout(A_WHILE, second.read_exact(&mut answer)).await;
    ensure!(early.is_err(), "the second is answered beside the first");
    drop(first);
    timeout(SOON, second.read_exact(&mut answer)).await??;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    Ok(())
}

async fn second_of_address(ground: &Ground) -> anyhow::Result<()> {
    let address = ground.api()?;
    let mut first = TcpStream::connect(address).await?;
    first.write_all(CLIENT_CONFIG).await?;
    let mut answer = [0; 12];
    timeout(SOON, first.read_exact(&mut answer)).await??;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    let mut second = TcpStream::connect(address).await?;
    let mut answer = String::new();
    timeout(SOON, second.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    Ok(())
}

/// Also one that speaks HTTP/2 and answers whatever it is asked but for a request.
async fn idle(ground: &Ground) -> anyhow::Result<()> {
    let address = ground.api()?;
    let mut first = TcpStream::connect(address).await?;
    first.write_all(CLIENT_CONFIG).await?;
    let mut answer = String::new();
    timeout(SOON, first.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .http2_keep_alive_interval(Duration::from_millis(20))
        .keep_alive_while_idle(true);
    let _held = channel.connect().await?;
    let closed = until("the second is closed", async || {
        let closed = ground.metric(&Series::new(IDLE_CLOSED, "", "")).await?;
        Ok((closed >= 2.0).then_some(closed))
    });
    closed.await?;
    Ok(())
}

async fn long_request(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let message = json!({"userId": "bob", "clientId": "long", "content": {"text": {"text": "x".repeat(70_000)}}});
    let answer = ground
        .post(Proof::Token(&token), "/messages", &message)
        .await?;
    answer.refusal(ground.code()?)?;
    Ok(())
}

/// As many bodies as there is room for are begun and not ended: long ones, and short ones for what these leave.
async fn many_bodies(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    let proof = Proof::Key(&key);
    let mut begun = Vec::new();
    for _ in 0..LONGEST_AT_ONCE {
        begun.push(begin_body(ground, proof, 65_536).await?);
    }
    let error = until("there is no room", async || {
        for _ in 0..LONGEST_AT_ONCE {
            begun.push(begin_body(ground, proof, 1_024).await?);
        }
        let presence = json!({"userIds": ["bob"]});
        match ground.post(proof, "/presence:query", &presence).await? {
            Answer::Done(_) => Ok(None),
            Answer::Refused(error) => Ok(Some(error)),
        }
    })
    .await?;
    ensure!(error.code() == ground.code()?, "{error:?}");
    ensure!(error.retry_after_ms > 0, "{error:?}");
    Ok(())
}

/// All but the last byte of a body.
async fn begin_body(ground: &Ground, proof: Proof<'_>, length: usize) -> anyhow::Result<TcpStream> {
    let address = ground.api()?;
    let mut request = format!("POST /api/v1/presence:query HTTP/1.1\r\nhost: {address}\r\n");
    for (name, value) in proof.headers() {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    stream.write_all(&vec![b' '; length - 1]).await?;
    Ok(stream)
}

async fn many_fields(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    let request = json!({"userIds": vec!["b"; MAX_FIELDS + 1]});
    let answer = ground
        .call(Proof::Key(&key), "GetPresence", &request)
        .await?;
    let error = answer.refusal(ground.code()?)?;
    ensure!(error.message.contains("fields"), "{error:?}");
    Ok(())
}

async fn many_values(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    let request = json!({"userIds": vec!["b"; MAX_VALUES]});
    let answer = ground
        .post(Proof::Key(&key), "/presence:query", &request)
        .await?;
    let error = answer.refusal(ground.code()?)?;
    ensure!(error.message.contains("values"), "{error:?}");
    Ok(())
}

async fn late_answer(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    let proof = Proof::Token(&token);
    ground.get(proof, "/inbox").await?.refusal(ground.code()?)?;
    let answer = ground.call(proof, "SyncInbox", &json!({})).await?;
    answer.refusal(ground.code()?)?;
    Ok(())
}

async fn fast_user(ground: &Ground) -> anyhow::Result<()> {
    let token = ground.token("ann")?;
    fast(ground, Proof::Token(&token)).await
}

async fn fast_key(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    fast(ground, Proof::Key(&key)).await
}

/// A batch costs as much as its messages, so it may well be too much by itself; the second request is too much in any case.
async fn fast(ground: &Ground, proof: Proof<'_>) -> anyhow::Result<()> {
    let presence = json!({"userIds": ["bob"]});
    ground
        .post(proof, "/presence:query", &presence)
        .await?
        .done()?;
    let answer = ground.post(proof, "/presence:query", &presence).await?;
    let error = answer.refusal(ground.code()?)?;
    ensure!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
    Ok(())
}

/// A request with 201 of a thing, by HTTP and by gRPC.
async fn too_many(
    ground: &Ground,
    (path, method): (&str, &str),
    field: (&str, &str),
    item: Value,
) -> anyhow::Result<()> {
    let (in_json, in_contract) = field;
    let key = ground.key().await?;
    let proof = Proof::Key(&key);
    let mut request = json!({});
    request[in_json] = json!(vec![item; 201]);
    let by_http = ground.post(proof, path, &request).await?;
    let by_grpc = ground.call(proof, method, &request).await?;
    for answer in [by_http, by_grpc] {
        let error = answer.refusal(ground.code()?)?;
        ensure!(error.field == in_contract, "{error:?}");
    }
    Ok(())
}

async fn long_batch(ground: &Ground) -> anyhow::Result<()> {
    let message = json!({"userId": "bob", "senderId": "ann", "clientId": "one", "content": {"text": {"text": "x"}}});
    let names = ("/messages:batch", "SendMessages");
    too_many(ground, names, ("messages", "messages"), message).await
}

async fn many_users(ground: &Ground) -> anyhow::Result<()> {
    let names = ("/presence:query", "GetPresence");
    too_many(ground, names, ("userIds", "user_ids"), json!("bob")).await
}

/// Of characters: in bytes, both are far longer.
async fn long_reason(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    let proof = Proof::Key(&key);
    let path = "/admin/users/bob/kick";
    let longest = json!({"reason": "长".repeat(200)});
    ground.post(proof, path, &longest).await?.done()?;
    let reason = "长".repeat(201);
    let request = json!({"userId": "bob", "reason": reason});
    let by_http = ground.post(proof, path, &json!({"reason": reason})).await?;
    let by_grpc = ground.call(proof, "Kick", &request).await?;
    for answer in [by_http, by_grpc] {
        let error = answer.refusal(ground.code()?)?;
        ensure!(error.field == "reason", "{error:?}");
    }
    Ok(())
}

async fn many_keys(ground: &Ground) -> anyhow::Result<()> {
    let key = ground.key().await?;
    let proof = Proof::Key(&key);
    let new = json!({"name": "one more", "scopes": ["read"]});
    // The key that asks is one of the thousand.
    stream::iter(0..999)
        .map(|_| async { ground.post(proof, "/api-keys", &new).await?.done() })
        .buffer_unordered(MAKERS)
        .try_for_each(|made| async move { made["secret"].as_str().context("no secret").map(drop) })
        .await?;
    let answer = ground.post(proof, "/api-keys", &new).await?;
    answer.refusal(ground.code()?)?;
    Ok(())
}
