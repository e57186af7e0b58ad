//! etcd beside the client that is tested, by its JSON gateway.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::Client;
use serde_json::{Value, json};

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How many keys begin with a prefix.
pub(crate) async fn count(url: &str, prefix: &str) -> anyhow::Result<u64> {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut().context("an empty prefix")?;
    *last += 1;
    let request = json!({
        "key": BASE64_STANDARD.encode(prefix),
        "range_end": BASE64_STANDARD.encode(&end),
        "count_only": true,
    });
    number(&range(url, &request).await?, "count")
}

/// The revision in which a key was last written; 0 if it is not there.
pub(crate) async fn revision(url: &str, key: &str) -> anyhow::Result<u64> {
    let request = json!({"key": BASE64_STANDARD.encode(key)});
    let answer = range(url, &request).await?;
    match answer.pointer("/kvs/0") {
        Some(pair) => number(pair, "mod_revision"),
        None => Ok(0),
    }
}

async fn range(url: &str, request: &Value) -> anyhow::Result<Value> {
    let http = Client::builder()
        .no_proxy()
        .timeout(ANSWERS_WITHIN)
        .build()?;
    let asked = http.post(format!("{url}/v3/kv/range")).json(request);
    Ok(asked.send().await?.error_for_status()?.json().await?)
}

/// A number, which is a text; zero is left out.
fn number(answer: &Value, name: &str) -> anyhow::Result<u64> {
    let text = answer.get(name).and_then(Value::as_str);
    Ok(text.map_or(Ok(0), str::parse)?)
}
