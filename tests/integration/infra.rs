//! The servers that a cluster stands on, stopped, killed, paused and brought back, by `cargo xtask infra` that has started them.

use std::{fmt, process::Stdio, sync::Mutex, sync::PoisonError};

use anyhow::{Context, ensure};
use tokio::{process::Command, time::timeout};

use crate::environment;

/// A server that has not come back by then will not: it may recover from a crash on a busy machine.
const DONE_WITHIN: std::time::Duration = std::time::Duration::from_secs(90);
const TOOL: &str = "FLARE_TEST_INFRA_TOOL";
const PLACE: &str = "FLARE_TEST_INFRA_PLACE";

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// All of its nodes.
    Kafka,
    /// One of its nodes, by its number.
    KafkaNode(u32),
    Postgres,
    Redis,
    Etcd,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kafka => f.write_str("kafka"),
            Self::KafkaNode(number) => write!(f, "kafka-{number}"),
            Self::Postgres => f.write_str("postgres"),
            Self::Redis => f.write_str("redis"),
            Self::Etcd => f.write_str("etcd"),
        }
    }
}

/// Who controls them. What was put out of action and not brought back comes back when this is dropped: others need it.
pub(crate) struct Infra {
    tool: String,
    place: String,
    away: Mutex<Vec<(Server, Away)>>,
}

/// In what way a server is out of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Ended,
    Paused,
}

impl Away {
    /// What brings it back.
    fn remedy(self) -> &'static str {
        match self {
            Self::Ended => "restart",
            Self::Paused => "resume",
        }
    }
}

impl Infra {
    /// The one that the environment names.
    pub(crate) fn find() -> anyhow::Result<Self> {
        Ok(Self {
            tool: environment::named(TOOL)?,
            place: environment::named(PLACE)?,
            away: Mutex::default(),
        })
    }

    /// Stops a server in order; it stays down.
    pub(crate) async fn stop(&self, server: Server) -> anyhow::Result<()> {
        self.is_away(server, Away::Ended);
        self.run(&["stop", &server.to_string()]).await
    }

    /// Kills a server with signal 9; it stays down.
    pub(crate) async fn kill(&self, server: Server) -> anyhow::Result<()> {
        self.is_away(server, Away::Ended);
        self.run(&["stop", "--kill", &server.to_string()]).await
    }

    /// Lets a server stand still, with its connections open.
    pub(crate) async fn pause(&self, server: Server) -> anyhow::Result<()> {
        self.is_away(server, Away::Paused);
        self.run(&["pause", &server.to_string()]).await
    }

    /// Brings back a server that was stopped, killed or paused; it answers when this returns.
    pub(crate) async fn comes_back(&self, server: Server) -> anyhow::Result<()> {
        let way = self.away().iter().find(|it| it.0 == server).map(|it| it.1);
        let way = way.with_context(|| format!("{server} is not away"))?;
        self.run(&[way.remedy(), &server.to_string()]).await?;
        self.away().retain(|it| it.0 != server);
        Ok(())
    }

    fn is_away(&self, server: Server, how: Away) {
        self.away().push((server, how));
    }

    fn away(&self) -> std::sync::MutexGuard<'_, Vec<(Server, Away)>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arguments<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["infra", "--at", &self.place], words].concat()
    }

    async fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        let running = Command::new(&self.tool)
            .args(self.arguments(words))
            .stdin(Stdio::null())
            .output();
        let done = timeout(DONE_WITHIN, running).await;
        let done = done.with_context(|| format!("{words:?} is not done within {DONE_WITHIN:?}"))?;
        let done = done.with_context(|| self.tool.clone())?;
        ensure!(
            done.status.success(),
            "{words:?}: {}\n{}{}",
            done.status,
            String::from_utf8_lossy(&done.stderr),
            String::from_utf8_lossy(&done.stdout)
        );
        Ok(())
    }
}

impl Drop for Infra {
    fn drop(&mut self) {
        let away = std::mem::take(&mut *self.away());
        for (server, way) in away {
            let server = server.to_string();
            let arguments = self.arguments(&[way.remedy(), &server]);
            let done = std::process::Command::new(&self.tool)
                .args(arguments)
                .stdin(Stdio::null())
                .output();
            match done {
                Ok(done) if done.status.success() => {}
                other => eprintln!("{server} was put out of action and is not back: {other:?}"),
            }
        }
    }
}
