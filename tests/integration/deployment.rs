//! A server as somebody would run it: the real binary, in one process or split in two, reached through its public interfaces only.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, bail, ensure};
use flare_core_sdk::Trust;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use crate::{
    authority::{Authority, trust},
    process::{self, Addresses, Process, text},
    tunnel,
};

/// How a deployment is cut into processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `flare up`: everything in one process.
    Embedded,
    /// The two gateways in a process of their own; a static registry and mutual TLS between the two, and TLS for clients and backends.
    Split,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 2] = [Self::Embedded, Self::Split];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Split => "split",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|it| it.to_string() == name)
            .ok_or_else(|| format!("no deployment {name:?}: there are embedded and split"))
    }
}

/// A part of a deployment that starts and ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Whatever keeps the data. Embedded, that is all of it.
    Core,
    /// Whatever clients and backends connect to. Embedded, that is all of it.
    Edge,
}

/// Roles of the process that keeps the data.
const CORE_ROLES: &str = "storage-writer,storage-reader,signaling-online,signaling-route,message-orchestrator,session,push-server";
/// Roles of the process that clients reach.
const EDGE_ROLES: &str = "access-gateway,core-gateway";
/// Services that the edge finds in the core's process.
const CORE_SERVICES: [&str; 6] = [
    "flare-signaling-online",
    "flare-signaling-route",
    "flare-message-orchestrator",
    "flare-storage-reader",
    "flare-session",
    "flare-push-server",
];
const ANY_PORT: &str = "127.0.0.1:0";
const PEER_SECRET: &str = "the-integration-tests-share-this-secret";

/// Settings of every process: clients come back soon, and a slow reader is noticed after little.
const SETTINGS: [&str; 2] = [
    "access_gateway.reconnect_spread_ms=200",
    "access_gateway.outbound_bytes=262144",
];

/// What every process is given beside what it needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) settings: Vec<String>,
    /// In its environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// One process of the deployment, or the place of one that was killed.
struct Slot {
    running: Option<Process>,
    /// Of the first start: it comes back where it was.
    addresses: Addresses,
}

/// A running server.
pub(crate) struct Deployment {
    kind: Kind,
    folder: PathBuf,
    beside: Beside,
    core: Slot,
    /// Split only.
    edge: Option<Slot>,
    /// The authority whose certificates are shown, where connections are encrypted.
    authority: Option<Authority>,
    tokens: Mutex<HashMap<(String, Option<String>), String>>,
}

impl Deployment {
    /// Starts one whose data and logs are kept below `folder`; ready when this returns.
    pub(crate) async fn start(kind: Kind, folder: &Path, beside: Beside) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("logs"))?;
        let authority = match kind {
            Kind::Embedded => None,
            Kind::Split => Some(Authority::make(folder).await?),
        };
        let first = Addresses::default();
        let core = start(kind, Part::Core, folder, &beside, &first, None).await?;
        let core = Slot {
            addresses: core.addresses,
            running: Some(core),
        };
        let edge = match kind {
            Kind::Embedded => None,
            Kind::Split => {
                let core = Some(&core.addresses);
                let edge = start(kind, Part::Edge, folder, &beside, &first, core).await?;
                Some(Slot {
                    addresses: edge.addresses,
                    running: Some(edge),
                })
            }
        };
        Ok(Self {
            kind,
            folder: folder.to_owned(),
            beside,
            core,
            edge,
            authority,
            tokens: Mutex::default(),
        })
    }

    /// How it is cut.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its processes.
    pub(crate) fn parts(&self) -> &'static [Part] {
        match self.kind {
            Kind::Embedded => &[Part::Core],
            Kind::Split => &[Part::Core, Part::Edge],
        }
    }

    fn outside(&self) -> &Addresses {
        &self.place(Part::Edge).addresses
    }

    /// The roles of each of its processes, in their order.
    pub(crate) fn roles(&self) -> Vec<String> {
        match self.kind {
            Kind::Embedded => vec![format!("{CORE_ROLES},{EDGE_ROLES}")],
            Kind::Split => vec![EDGE_ROLES.to_owned(), CORE_ROLES.to_owned()],
        }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        let address = self.outside().access_gateway.context("no access gateway")?;
        let scheme = if self.authority.is_some() {
            "wss"
        } else {
            "ws"
        };
        Ok(format!("{scheme}://{address}/ws"))
    }

    /// Where backends connect, by gRPC and HTTP.
    pub(crate) fn api(&self) -> anyhow::Result<String> {
        let address = self.outside().core_gateway.context("no core gateway")?;
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        Ok(format!("{scheme}://{address}"))
    }

    /// The certificate to believe, where connections are encrypted.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Whose certificates clients believe.
    pub(crate) fn trust(&self) -> anyhow::Result<Trust> {
        trust(self.authority.as_ref().map(Authority::ca).as_deref())
    }

    /// Where an HTTP client reaches [`Self::api`] that does not speak TLS.
    pub(crate) async fn plain_api(&self) -> anyhow::Result<String> {
        match &self.authority {
            None => self.api(),
            Some(authority) => {
                let api = self.outside().core_gateway.context("no core gateway")?;
                Ok(format!("http://{}", tunnel::open(authority, api).await?))
            }
        }
    }

    /// A metric of the part that clients connect to, summed over all series whose name and labels contain every one of `words`; 0 if there is none.
    pub(crate) async fn metric(&self, words: &[&str]) -> anyhow::Result<f64> {
        self.metric_of(Part::Edge, words).await
    }

    /// Likewise, of a part.
    pub(crate) async fn metric_of(&self, part: Part, words: &[&str]) -> anyhow::Result<f64> {
        let ops = self.place(part).addresses.ops;
        let ops = ops.context("no ops listener")?;
        let text = get(ops, "/metrics").await?;
        let lines = text
            .lines()
            .filter(|it| !it.starts_with('#') && words.iter().all(|word| it.contains(word)));
        lines
            .map(|it| Ok(it.rsplit(' ').next().unwrap_or_default().parse::<f64>()?))
            .sum()
    }

    /// Where the data is kept.
    pub(crate) fn data(&self) -> PathBuf {
        data(&self.folder, Part::Core)
    }

    /// A token of a user, made once; of one device alone if it is named.
    pub(crate) async fn token(&self, user: &str, device: Option<&str>) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        let key = (user.to_owned(), device.map(str::to_owned));
        if let Some(token) = tokens.get(&key) {
            return Ok(token.clone());
        }
        let token = self.new_token(user, device).await?;
        tokens.insert(key, token.clone());
        Ok(token)
    }

    /// A token of a user, made now.
    pub(crate) async fn new_token(
        &self,
        user: &str,
        device: Option<&str>,
    ) -> anyhow::Result<String> {
        let data = text(&self.data())?;
        let mut arguments = vec!["token", "--user", user, "--data", &data];
        arguments.extend(device.into_iter().flat_map(|it| ["--device", it]));
        Ok(process::run(&arguments).await?.trim().to_owned())
    }

    /// A token of a user that is good for so many seconds of the true time.
    pub(crate) async fn token_for(&self, user: &str, seconds: u64) -> anyhow::Result<String> {
        let (data, seconds) = (text(&self.data())?, seconds.to_string());
        let arguments = ["token", "--user", user, "--data", &data, "--ttl", &seconds];
        Ok(process::run(&arguments).await?.trim().to_owned())
    }

    /// A new API key's secret.
    pub(crate) async fn api_key(&self, scopes: &[&str]) -> anyhow::Result<String> {
        let data = text(&data(&self.folder, self.owner_of(Part::Edge)))?;
        let scopes = scopes.join(",");
        let line = process::run(&[
            "apikey", "create", "--name", "test", "--scope", &scopes, "--data", &data, "--json",
        ])
        .await?;
        let key: serde_json::Value = serde_json::from_str(&line)?;
        let secret = key.get("secret").and_then(|it| it.as_str());
        Ok(secret
            .with_context(|| format!("no secret in {line}"))?
            .to_owned())
    }

    /// Which part really has what the asked-for one stands for.
    fn owner_of(&self, part: Part) -> Part {
        if self.kind == Kind::Embedded {
            Part::Core
        } else {
            part
        }
    }

    fn slot(&mut self, part: Part) -> &mut Slot {
        match (part, &mut self.edge) {
            (Part::Edge, Some(edge)) => edge,
            _ => &mut self.core,
        }
    }

    fn place(&self, part: Part) -> &Slot {
        match (part, &self.edge) {
            (Part::Edge, Some(edge)) => edge,
            _ => &self.core,
        }
    }

    /// The number of a part's process.
    pub(crate) fn id(&self, part: Part) -> anyhow::Result<u32> {
        let running = self.place(part).running.as_ref();
        running
            .with_context(|| format!("{part:?} does not run"))?
            .id()
    }

    /// Sends a part a signal that it outlives, such as STOP or CONT.
    pub(crate) async fn signal(&self, part: Part, signal: &str) -> anyhow::Result<()> {
        process::signal(self.id(part)?, signal).await
    }

    /// Kills a part with signal 9.
    pub(crate) async fn kill9(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.slot(part).running.take();
        running
            .with_context(|| format!("{part:?} does not run"))?
            .kill9()
            .await
    }

    /// Lets a part's writes fail, and demands that it ends by itself.
    pub(crate) async fn fail_writes(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.slot(part).running.take();
        running
            .with_context(|| format!("{part:?} does not run"))?
            .fail_writes()
            .await
    }

    /// Waits for the end of a part that nobody asked to end, and demands that it says why.
    pub(crate) async fn fails(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.slot(part).running.take();
        running
            .with_context(|| format!("{part:?} does not run"))?
            .fails()
            .await
    }

    /// Stops a part, and demands that it ends cleanly.
    pub(crate) async fn stop(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.slot(part).running.take();
        running
            .with_context(|| format!("{part:?} does not run"))?
            .stop()
            .await
    }

    /// Starts a part again that was killed or stopped, at the addresses that it had.
    pub(crate) async fn start_again(&mut self, part: Part) -> anyhow::Result<()> {
        let part = self.owner_of(part);
        let (kind, core) = (self.kind, self.core.addresses);
        let (folder, beside) = (self.folder.clone(), self.beside.clone());
        let slot = self.slot(part);
        if slot.running.is_some() {
            bail!("{part:?} runs");
        }
        slot.running =
            Some(start(kind, part, &folder, &beside, &slot.addresses, Some(&core)).await?);
        Ok(())
    }

    /// Stops all that runs, cleanly.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<()> {
        for slot in self.edge.iter_mut().chain([&mut self.core]) {
            if let Some(running) = slot.running.take() {
                running.stop().await?;
            }
        }
        Ok(())
    }
}

async fn start(
    kind: Kind,
    part: Part,
    folder: &Path,
    beside: &Beside,
    at: &Addresses,
    core: Option<&Addresses>,
) -> anyhow::Result<Process> {
    let name = match (kind, part) {
        (Kind::Embedded, _) => "flare",
        (Kind::Split, Part::Core) => "core",
        (Kind::Split, Part::Edge) => "edge",
    };
    let mut arguments = match (kind, part) {
        (Kind::Embedded, _) => vec!["up".to_owned()],
        (Kind::Split, Part::Core) => {
            vec!["run".to_owned(), "--role".to_owned(), CORE_ROLES.to_owned()]
        }
        (Kind::Split, Part::Edge) => {
            vec!["run".to_owned(), "--role".to_owned(), EDGE_ROLES.to_owned()]
        }
    };
    arguments.extend([
        "--json".to_owned(),
        "--data".to_owned(),
        text(&data(folder, part))?,
    ]);
    let mut settings: Vec<String> = SETTINGS.map(str::to_owned).into();
    settings.extend_from_slice(&beside.settings);
    let address = |it: Option<std::net::SocketAddr>| {
        it.map_or_else(|| ANY_PORT.to_owned(), |it| it.to_string())
    };
    settings.push(format!("process.ops_listen={}", address(at.ops)));
    if kind == Kind::Embedded || part == Part::Edge {
        settings.push(format!(
            "access_gateway.listen={}",
            address(at.access_gateway)
        ));
        settings.push(format!("core_gateway.listen={}", address(at.core_gateway)));
    }
    if kind == Kind::Split {
        settings.extend(Authority::of(folder).settings()?);
        let key = text(&data(folder, Part::Core).join("token.key"))?;
        settings.push(format!("peer.listen={}", address(at.peer)));
        settings.push(format!("peer.secret={PEER_SECRET}"));
        settings.push(format!("identity.local_key_file={key}"));
    }
    if kind == Kind::Split && part == Part::Edge {
        let peer = core
            .and_then(|it| it.peer)
            .context("the core has no peer address")?;
        settings.extend(
            CORE_SERVICES
                .map(|service| format!("registry.services.{service}=[\"https://{peer}\"]")),
        );
    }
    arguments.extend(settings.into_iter().flat_map(|it| ["--set".to_owned(), it]));
    Process::start(
        &beside.environment,
        name,
        &arguments,
        folder,
        &folder.join("logs").join(format!("{name}.log")),
    )
    .await
}

/// The answer to a plain HTTP GET, headers included.
async fn get(at: std::net::SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "{path}: {}",
        answer.lines().next().unwrap_or_default()
    );
    Ok(answer)
}

/// Where a part of a deployment in `folder` keeps its data.
pub(crate) fn data(folder: &Path, part: Part) -> PathBuf {
    folder.join(match part {
        Part::Core => "data",
        Part::Edge => "edge-data",
    })
}
