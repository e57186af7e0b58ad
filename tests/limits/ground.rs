//! The server whose limit is reached.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use flare_im::limits::Limit;
use flare_proto::{client::CloseReason, common::ErrorCode};
use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    identity::{IdentityConfig, LocalJwt},
    log_file::{DiskLayer, FileLayer},
};
use tempfile::TempDir;

use crate::{
    case::Series,
    process::{self, Process},
    until::until,
};

/// Whoever calls others has one.
const PEER_SECRET: &str = "the-tests-of-limits-share-this-secret";
/// What is stored in memory, where the system has such a folder: nobody else's files come and go there.
const MEMORY_DISK: &str = "/dev/shm";
/// How much a disk has left above the limit when a server starts on it.
const LEFT_BYTES: u64 = 192 << 20;
/// Segments are as small as may be: each is written full of zeros.
const SMALL_SEGMENTS: &str = "log.segment_bytes=4194304";
/// What the process says.
const LOG: &str = "flare.log";
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

/// What kind of server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `flare up`.
    Whole,
    /// The two gateways and presence; the other services are at addresses where nobody answers.
    SilentServices,
    /// A gateway for clients; presence, and all else, is at an address where nobody answers.
    SilentPresence,
    /// Nothing brings the log's events to the store.
    NoWriter,
    /// push-server cannot ask who is connected, so it never gets past the first message.
    StuckConsumer,
    /// `flare up` on a disk that can be filled to the limit.
    SmallDisk,
}

impl Shape {
    /// The roles that run; none: all of them.
    fn roles(self) -> Option<&'static str> {
        match self {
            Self::Whole | Self::SmallDisk => None,
            Self::SilentServices => {
                Some("access-gateway,core-gateway,signaling-online,signaling-route")
            }
            Self::SilentPresence => Some("access-gateway"),
            Self::StuckConsumer => Some(
                "core-gateway,signaling-route,message-orchestrator,storage-writer,storage-reader,session,push-server",
            ),
            Self::NoWriter => Some(
                "access-gateway,core-gateway,signaling-online,signaling-route,message-orchestrator,storage-reader",
            ),
        }
    }

    fn silent(self) -> &'static [&'static str] {
        match self {
            Self::Whole | Self::SmallDisk => &[],
            Self::SilentServices => &[
                "flare-message-orchestrator",
                "flare-storage-reader",
                "flare-session",
                "flare-push-server",
            ],
            Self::SilentPresence => &[
                "flare-signaling-online",
                "flare-signaling-route",
                "flare-message-orchestrator",
                "flare-storage-reader",
                "flare-session",
                "flare-push-server",
            ],
            Self::StuckConsumer => &["flare-signaling-online"],
            Self::NoWriter => &["flare-storage-writer", "flare-session", "flare-push-server"],
        }
    }
}

/// A running server.
pub(crate) struct Ground {
    limit: &'static Limit,
    /// What was set.
    pub(crate) settings: Vec<String>,
    pub(crate) http: reqwest::Client,
    process: Process,
    signer: LocalJwt,
    folder: TempDir,
    /// Takes connections, as far as the system does, and answers none.
    _silence: TcpListener,
}

impl Ground {
    /// Starts one; ready when this returns.
    pub(crate) async fn start(
        limit: &'static Limit,
        shape: Shape,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let memory_disk = Path::new(MEMORY_DISK);
        let folder = if shape == Shape::SmallDisk && memory_disk.is_dir() {
            TempDir::new_in(memory_disk)?
        } else {
            tempfile::tempdir()?
        };
        let silence = TcpListener::bind("127.0.0.1:0")?;
        let mut settings: Vec<_> = settings.iter().map(|it| (*it).to_owned()).collect();
        settings.push(SMALL_SEGMENTS.to_owned());
        if shape == Shape::SmallDisk {
            let free = DiskLayer.free_bytes(folder.path())?;
            let min = free.saturating_sub(LEFT_BYTES);
            settings.push(format!("log.min_free_bytes={min}"));
        }
        let at = silence.local_addr()?;
        if !shape.silent().is_empty() {
            settings.push(format!("peer.secret={PEER_SECRET}"));
        }
        for service in shape.silent() {
            settings.push(format!("registry.services.{service}=[\"http://{at}\"]"));
        }
        let process = Process::start(
            &[],
            None,
            "flare",
            &arguments(shape, &settings, &data(&folder)?),
            folder.path(),
            &folder.path().join(LOG),
        )
        .await?;
        let signer = LocalJwt::open(
            &IdentityConfig::default(),
            Path::new(&data(&folder)?),
            &IdSource::from_os(),
        )?;
        Ok(Self {
            limit,
            settings,
            http: reqwest::Client::builder().no_proxy().build()?,
            process,
            signer,
            folder,
            _silence: silence,
        })
    }

    /// The row's code.
    pub(crate) fn code(&self) -> anyhow::Result<ErrorCode> {
        self.limit.code.context("the row has no code")
    }

    /// The reason for which the row says that a connection is closed.
    pub(crate) fn close_reason(&self) -> anyhow::Result<CloseReason> {
        let named = self.limit.beyond.rsplit_once("closed with `");
        named
            .and_then(|(_, rest)| CloseReason::from_str_name(rest.trim_end_matches('`')))
            .with_context(|| format!("no close reason in {:?}", self.limit.beyond))
    }

    /// Where clients connect.
    pub(crate) fn link(&self) -> anyhow::Result<SocketAddr> {
        self.process.addresses.access_gateway.context("no link")
    }

    /// Where backends connect.
    pub(crate) fn api(&self) -> anyhow::Result<SocketAddr> {
        self.process.addresses.core_gateway.context("no API")
    }

    /// The server's wall time, which is this machine's.
    pub(crate) fn now_ms(&self) -> i64 {
        SystemClock.now_ms()
    }

    /// A user's token.
    pub(crate) fn token(&self, user: &str) -> anyhow::Result<String> {
        self.token_for(user, TOKEN_TTL)
    }

    /// A user's token that is good for so long.
    pub(crate) fn token_for(&self, user: &str, ttl: Duration) -> anyhow::Result<String> {
        Ok(self
            .signer
            .mint("default", user, None, ttl, self.now_ms())?)
    }

    /// The secret that signs tokens.
    pub(crate) fn token_key(&self) -> anyhow::Result<Vec<u8>> {
        let file = Path::new(&data(&self.folder)?).join("token.key");
        std::fs::read(&file).with_context(|| file.display().to_string())
    }

    /// The secret of a new API key with every scope.
    pub(crate) async fn key(&self) -> anyhow::Result<String> {
        let data = data(&self.folder)?;
        let line = process::run(&[
            "apikey",
            "create",
            "--name",
            "limits",
            "--scope",
            "send,conversations,read,presence,admin",
            "--data",
            &data,
            "--json",
        ])
        .await?;
        let key: serde_json::Value = serde_json::from_str(&line)?;
        let secret = key["secret"].as_str();
        Ok(secret
            .with_context(|| format!("no secret in {line}"))?
            .to_owned())
    }

    /// What the server counts.
    pub(crate) async fn metric(&self, series: &Series) -> anyhow::Result<f64> {
        series.sum(&self.metrics().await?)
    }

    /// Everything that the server counts.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let ops = self.process.addresses.ops.context("no ops listener")?;
        let answer = self
            .http
            .get(format!("http://{ops}/metrics"))
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Whether it has said this.
    pub(crate) fn has_said(&self, words: &str) -> anyhow::Result<bool> {
        let said = std::fs::read_to_string(self.folder.path().join(LOG))?;
        Ok(said.contains(words))
    }

    /// Waits until it has said this.
    pub(crate) async fn says(&self, words: &str) -> anyhow::Result<()> {
        until(words, async || Ok(self.has_said(words)?.then_some(()))).await
    }

    /// Fills the disk until there is a little less left than the limit.
    pub(crate) fn fill_disk(&self) -> anyhow::Result<()> {
        let min = self
            .settings
            .iter()
            .find_map(|it| it.strip_prefix("log.min_free_bytes="));
        let min: u64 = min.context("no limit of the disk")?.parse()?;
        let free = DiskLayer.free_bytes(self.folder.path())?;
        let excess = free.saturating_sub(min) + (1 << 20);
        let mut file = std::fs::File::create(self.folder.path().join("filling"))?;
        std::io::copy(
            &mut std::io::Read::take(std::io::repeat(1), excess),
            &mut file,
        )?;
        file.sync_all()?;
        Ok(())
    }

    /// Asks the process to end.
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        self.process.terminate().await
    }

    /// The process was asked to end: demands that it fails, and says so.
    pub(crate) async fn fails(self, words: &str) -> anyhow::Result<()> {
        let (status, said) = self.process.ended().await?;
        ensure!(!status.success(), "it ended with {status}:\n{said}");
        ensure!(said.contains(words), "it did not say {words:?}:\n{said}");
        Ok(())
    }
}

fn arguments(shape: Shape, settings: &[String], data: &str) -> Vec<String> {
    let mut arguments: Vec<&str> = match shape.roles() {
        None => vec!["up", "--listen", "127.0.0.1:0"],
        Some(roles) => vec![
            "run",
            "--role",
            roles,
            "--set",
            "access_gateway.listen=127.0.0.1:0",
            "--set",
            "core_gateway.listen=127.0.0.1:0",
            "--set",
            "process.ops_listen=127.0.0.1:0",
        ],
    };
    arguments.extend(["--json", "--data", data]);
    arguments.extend(settings.iter().flat_map(|it| ["--set", it]));
    arguments.into_iter().map(str::to_owned).collect()
}

fn data(folder: &TempDir) -> anyhow::Result<String> {
    let data = folder.path().join("data");
    Ok(data
        .to_str()
        .context("a folder with a name in UTF-8")?
        .to_owned())
}
