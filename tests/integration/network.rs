//! The network between a deployment and the servers that it stands on: a way to each that can be disturbed.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{deployment::Servers, infra::Server, toxiproxy::Proxy};

/// Those to whom a way leads.
pub(crate) const PROXIED: [Server; 3] = [Server::Postgres, Server::Redis, Server::Etcd];
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Ways to PostgreSQL, Redis and etcd. Kafka tells its clients where its brokers are, and is reached directly.
pub(crate) struct Network {
    postgres: Proxy,
    redis: Proxy,
    etcd: Proxy,
}

impl Network {
    /// Lays the ways, and lets a deployment take them.
    pub(crate) async fn lay(servers: &mut Servers) -> anyhow::Result<Self> {
        let name = servers.name.clone();
        let lay = async |what: &str, url: &mut String| -> anyhow::Result<Proxy> {
            let far = authority(url)?.to_owned();
            let proxy = Proxy::lay(&format!("{name}-{what}"), &far).await?;
            *url = url.replace(&far, &proxy.listen().to_string());
            Ok(proxy)
        };
        Ok(Self {
            postgres: lay("postgres", &mut servers.postgres).await?,
            redis: lay("redis", &mut servers.redis).await?,
            etcd: lay("etcd", &mut servers.etcd).await?,
        })
    }

    /// The way to a server.
    pub(crate) fn to(&self, server: Server) -> anyhow::Result<&Proxy> {
        match server {
            Server::Postgres => Ok(&self.postgres),
            Server::Redis => Ok(&self.redis),
            Server::Etcd => Ok(&self.etcd),
            Server::Kafka | Server::KafkaNode(_) => bail!("no proxy leads to {server}"),
        }
    }

    /// Asks a server something by the way to it; how long the answer took.
    pub(crate) async fn asks(&self, server: Server) -> anyhow::Result<Duration> {
        let (question, answer) = greeting(server)?;
        let at = self.to(server)?.listen();
        let begun = Instant::now();
        let answered = timeout(ANSWERS_WITHIN, async {
            let mut stream = TcpStream::connect(at).await?;
            stream.write_all(question).await?;
            let mut said = vec![0; answer.len()];
            stream.read_exact(&mut said).await?;
            ensure!(said == answer, "{server} says {said:?}");
            Ok(begun.elapsed())
        });
        let late = || format!("{server} says nothing within {ANSWERS_WITHIN:?}");
        answered.await.with_context(late)?
    }
}

/// What a server answers at once, as its own protocol begins: a question, and the beginning of the answer.
fn greeting(server: Server) -> anyhow::Result<(&'static [u8], &'static [u8])> {
    match server {
        // Whether it would speak TLS: no.
        Server::Postgres => Ok((&[0, 0, 0, 8, 4, 210, 22, 47], b"N")),
        Server::Redis => Ok((b"PING\r\n", b"+PONG")),
        Server::Etcd => Ok((b"GET /health HTTP/1.0\r\n\r\n", b"HTTP/1.")),
        Server::Kafka | Server::KafkaNode(_) => bail!("{server} is not asked"),
    }
}

/// The host and port of a URL.
pub(crate) fn authority(url: &str) -> anyhow::Result<&str> {
    let (_, rest) = url
        .split_once("://")
        .with_context(|| format!("{url} is no address"))?;
    let all = rest.split('/').next().unwrap_or(rest);
    Ok(all.rsplit('@').next().unwrap_or(all))
}
