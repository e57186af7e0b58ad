//! The etcd of the tests, beside the client that is tested: by its JSON gateway.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where it answers, as host:port.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' servers are told by variables"
)]
pub(crate) fn server() -> String {
    let told = std::env::var("FLARE_TEST_ETCD").expect(
        "FLARE_TEST_ETCD names no etcd, such as http://127.0.0.1:22379: `cargo xtask infra up` starts one",
    );
    told.trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned()
}

/// A prefix that no other test uses.
pub(crate) fn fresh_prefix() -> String {
    format!(
        "test-{}/",
        flare_server_core::clock::IdSource::from_os().random_u64()
    )
}

/// Calls a method.
pub(crate) async fn call(method: &str, request: Value) -> Value {
    let body = request.to_string();
    let mut stream = TcpStream::connect(server()).await.expect("etcd answers");
    let request = format!(
        "POST /v3/{method} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    read.expect("etcd answers in time").unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{method}: {error}: {answer}"))
}

/// Forgets all of its history.
pub(crate) async fn compact() {
    // Base64 of a key that is not there.
    let answer = call("kv/range", json!({"key": "AA=="})).await;
    let revision = answer["header"]["revision"].as_str().unwrap().to_owned();
    call("kv/compaction", json!({"revision": revision})).await;
}

/// Keys under a prefix.
pub(crate) async fn count(prefix: &str) -> u64 {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    let (key, range_end) = (STANDARD.encode(prefix), STANDARD.encode(&end));
    let request = json!({"key": key, "range_end": range_end, "count_only": true});
    let answer = call("kv/range", request).await;
    // Zero is left out of JSON.
    answer["count"].as_str().map_or(0, |it| it.parse().unwrap())
}
