//! The HTTP API, as a backend calls it.

use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As<'a> {
    /// The key, for the system.
    System,
    /// The key, for a user.
    User(&'a str),
    /// Another key, for the system.
    Key(&'a str),
}

/// A server's API, with a key that may do everything.
pub(crate) struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    pub(crate) fn new(base: String, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            base,
            key: key.to_owned(),
        })
    }

    /// The answer, good or bad.
    pub(crate) async fn answer(
        &self,
        who: As<'_>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match who {
            As::System => request.header("x-api-key", &self.key),
            As::User(user) => request
                .header("x-api-key", &self.key)
                .header("x-flare-user", user),
            As::Key(key) => request.header("x-api-key", key),
        };
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        };
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        Ok((status, body))
    }

    /// A call that succeeds.
    pub(crate) async fn call(
        &self,
        who: As<'_>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let asked = format!("{method} {path} as {who:?}");
        let (status, answer) = self.answer(who, method, path, body).await?;
        ensure!(status.is_success(), "{asked}: {status} {answer}");
        Ok(answer)
    }

    pub(crate) async fn get(&self, who: As<'_>, path: &str) -> anyhow::Result<Value> {
        self.call(who, Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, who: As<'_>, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(who, Method::POST, path, Some(body)).await
    }

    /// All of a list that comes by pages.
    pub(crate) async fn all(
        &self,
        who: As<'_>,
        path: &str,
        field: &str,
        token_field: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut page = self.get(who, path).await?;
        loop {
            if let Some(Value::Array(some)) = page.get_mut(field).map(Value::take) {
                all.extend(some);
            }
            let Some(token) = page[token_field].as_str().filter(|it| !it.is_empty()) else {
                return Ok(all);
            };
            let path = path.split('?').next().unwrap_or(path);
            let next = format!("{path}?page_size=200&page_token={token}");
            page = self.get(who, &next).await?;
        }
    }
}
