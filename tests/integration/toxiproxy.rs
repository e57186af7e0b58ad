//! toxiproxy, by its HTTP API: networks that are slow, cut or dead.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use flare_server_core::clock::IdSource;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::environment;

const VARIABLE: &str = "FLARE_TEST_TOXIPROXY";
/// Below those of outgoing connections: a proxy that is cut off for a while finds its port free afterwards.
const PORTS: Range<u16> = 20_000..32_000;
const ATTEMPTS: usize = 64;
/// The directions, as toxiproxy calls them.
const STREAMS: [&str; 2] = ["upstream", "downstream"];

/// A way to a server that can be disturbed. It goes when this is dropped.
pub(crate) struct Proxy {
    http: Client,
    api: String,
    name: String,
    listen: SocketAddr,
}

impl Proxy {
    /// Lays one of this name that leads to a server.
    pub(crate) async fn lay(name: &str, to: &str) -> anyhow::Result<Self> {
        let api = environment::named(VARIABLE)?;
        let http = Client::builder().no_proxy().build()?;
        let random = IdSource::from_os();
        let spread = u64::from(PORTS.end - PORTS.start);
        let mut refused = String::new();
        for _ in 0..ATTEMPTS {
            let port = PORTS.start + u16::try_from(random.random_u64() % spread)?;
            let proxy = Self {
                http: http.clone(),
                api: api.clone(),
                name: name.to_owned(),
                listen: SocketAddr::from(([127, 0, 0, 1], port)),
            };
            let wish = json!({"name": name, "listen": proxy.listen.to_string(), "upstream": to});
            match proxy.call(Method::POST, "/proxies", Some(wish)).await {
                Ok(()) => return Ok(proxy),
                // The port may be somebody's.
                Err(error) => refused = format!("{error:#}"),
            }
        }
        bail!("no proxy to {to}: {refused}")
    }

    /// Where it begins.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Whatever goes through it, in either direction, takes longer.
    pub(crate) async fn slows(&self, latency: Duration, jitter: Duration) -> anyhow::Result<()> {
        let (latency, jitter) = (latency.as_millis(), jitter.as_millis());
        self.both_ways("latency", &json!({"latency": latency, "jitter": jitter}))
            .await
    }

    /// Connections stay open, and nothing goes through them: neither side is told.
    pub(crate) async fn falls_silent(&self) -> anyhow::Result<()> {
        self.both_ways("timeout", &json!({"timeout": 0})).await
    }

    /// All connections end, and none is let in.
    pub(crate) async fn is_cut(&self) -> anyhow::Result<()> {
        self.enable(false).await
    }

    /// All is as it was. Connections that lost something in silence end.
    pub(crate) async fn heals(&self) -> anyhow::Result<()> {
        for kind in ["latency", "timeout"] {
            for stream in STREAMS {
                let path = format!("{}/toxics/{kind}-{stream}", self.path());
                let gone = self.ask(Method::DELETE, &path, None).await?;
                ensure!(
                    gone.0.is_success() || gone.0 == StatusCode::NOT_FOUND,
                    "{path}: {gone:?}"
                );
            }
        }
        self.enable(true).await
    }

    async fn both_ways(&self, kind: &str, attributes: &Value) -> anyhow::Result<()> {
        for stream in STREAMS {
            let toxic = json!({
                "name": format!("{kind}-{stream}"),
                "type": kind,
                "stream": stream,
                "attributes": attributes,
            });
            let path = format!("{}/toxics", self.path());
            self.call(Method::POST, &path, Some(toxic)).await?;
        }
        Ok(())
    }

    async fn enable(&self, enabled: bool) -> anyhow::Result<()> {
        let change = json!({"enabled": enabled});
        self.call(Method::POST, &self.path(), Some(change)).await
    }

    fn path(&self) -> String {
        format!("/proxies/{}", self.name)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<()> {
        let (status, said) = self.ask(method, path, body).await?;
        ensure!(status.is_success(), "{path}: {status}: {said}");
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let mut request = self.http.request(method, format!("{}{path}", self.api));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.context("toxiproxy")?;
        Ok((answer.status(), answer.text().await?))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let at = self.api.trim_start_matches("http://");
        let forgotten = TcpStream::connect(at).and_then(|mut stream| {
            let request = format!("DELETE {} HTTP/1.0\r\nHost: {at}\r\n\r\n", self.path());
            stream.write_all(request.as_bytes())?;
            stream.read_to_end(&mut Vec::new())
        });
        if let Err(error) = forgotten {
            eprintln!("the proxy {} stays: {error}", self.name);
        }
    }
}
