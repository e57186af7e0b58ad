//! A server as somebody would run it: the real binaries, in one process, split in two or as a cluster, reached through its public interfaces only.

mod kind;
mod named;
mod owners;
mod plan;
mod servers;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use flare_core_sdk::Trust;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
    time::timeout,
};

use crate::{
    authority::{Authority, trust},
    process::{self, Addresses, Process, text},
    tunnel,
};

use self::plan::Plan;
pub(crate) use self::{kind::Kind, owners::Owned, servers::Servers};

/// A part of a deployment that starts and ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Whatever keeps the data. Embedded, that is all of it.
    Core,
    /// Whatever clients and backends connect to. Embedded, that is all of it.
    Edge,
}

/// Each is made by a process of its own.
const TOKENS_AT_A_TIME: usize = 4;
/// A process that says nothing of itself for as long stands still.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(10);

/// What every process is given beside what it needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(crate) settings: Vec<String>,
    /// In its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What a cluster stands on.
    pub(crate) servers: Option<Servers>,
}

/// One process of the deployment, or the place of one that was killed.
struct Slot {
    plan: Plan,
    running: Option<Process>,
    /// Of the first start: it comes back where it was.
    addresses: Addresses,
}

impl Slot {
    /// A metric of the process, summed over all series that have every one of `words`.
    async fn metric(&self, words: &[&str]) -> anyhow::Result<f64> {
        let ops = self.addresses.ops.context("no ops listener")?;
        let text = timeout(LOOKED_AT_WITHIN, get(ops, "/metrics")).await;
        let text = text.with_context(|| format!("{} stands still", self.plan.name))??;
        let mut lines = text
            .lines()
            .filter(|it| !it.starts_with('#') && words.iter().all(|word| it.contains(word)));
        lines.try_fold(0.0, |sum, line| {
            Ok(sum + line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?)
        })
    }
}

/// A running server.
pub(crate) struct Deployment {
    kind: Kind,
    folder: PathBuf,
    beside: Beside,
    slots: Vec<Slot>,
    /// Whose turn it is among several that clients reach.
    turn: AtomicUsize,
    /// The authority whose certificates are shown, where connections are encrypted.
    authority: Option<Authority>,
    tokens: Mutex<HashMap<(String, Option<String>), String>>,
}

impl Deployment {
    /// Starts one whose data and logs are kept below `folder`; ready when this returns.
    pub(crate) async fn start(kind: Kind, folder: &Path, beside: Beside) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("logs"))?;
        let authority = match kind {
            Kind::Split => Some(Authority::make(folder).await?),
            Kind::Embedded | Kind::Cluster => None,
        };
        if let Some(servers) = &beside.servers {
            servers.prepare().await?;
        }
        let slots = plan::plans(kind).into_iter().map(|plan| Slot {
            plan,
            running: None,
            addresses: Addresses::default(),
        });
        let mut deployment = Self {
            kind,
            folder: folder.to_owned(),
            beside,
            slots: slots.collect(),
            turn: AtomicUsize::new(0),
            authority,
            tokens: Mutex::default(),
        };
        match kind {
            // They find each other, whoever comes first.
            Kind::Cluster => deployment.start_those(|_| true).await?,
            Kind::Embedded | Kind::Split => {
                deployment.start_those(|it| it.part == Part::Core).await?;
                deployment.start_those(|it| it.part == Part::Edge).await?;
            }
        }
        Ok(deployment)
    }

    /// Starts those that do not run, side by side, each where it was.
    async fn start_those(&mut self, which: impl Fn(&Plan) -> bool) -> anyhow::Result<()> {
        let core = self.place(Part::Core)?.addresses;
        let (kind, folder, beside) = (self.kind, self.folder.as_path(), &self.beside);
        let chosen = self.slots.iter_mut().filter(|it| which(&it.plan));
        let starting = chosen.map(|slot| async move {
            if slot.running.is_some() {
                bail!("{} runs", slot.plan.name);
            }
            let process = start(kind, &slot.plan, folder, beside, &slot.addresses, &core).await?;
            slot.addresses = process.addresses;
            slot.running = Some(process);
            Ok(())
        });
        futures::future::try_join_all(starting).await.map(|_| ())
    }

    /// How it is cut.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Its parts.
    pub(crate) fn parts(&self) -> &'static [Part] {
        match self.kind {
            Kind::Embedded => &[Part::Core],
            Kind::Split | Kind::Cluster => &[Part::Core, Part::Edge],
        }
    }

    /// The roles of each of its processes, in their order.
    pub(crate) fn roles(&self) -> Vec<String> {
        let (core, edge) = (plan::CORE_ROLES, plan::EDGE_ROLES);
        match self.kind {
            Kind::Embedded => vec![format!("{core},{edge}")],
            Kind::Split => vec![edge.to_owned(), core.to_owned()],
            Kind::Cluster => {
                let services = self.slots.iter().filter_map(|it| it.plan.service);
                services.map(str::to_owned).collect()
            }
        }
    }

    /// One of the addresses of a kind that clients or backends reach, in turn.
    fn outside(&self, which: fn(&Addresses) -> Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
        let all: Vec<_> = self
            .slots
            .iter()
            .filter_map(|it| which(&it.addresses))
            .collect();
        ensure!(!all.is_empty(), "nobody listens");
        Ok(all[self.turn.fetch_add(1, Ordering::Relaxed) % all.len()])
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> anyhow::Result<String> {
        Ok(self.url_at(self.outside(|it| it.access_gateway)?))
    }

    fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.authority.is_some() {
            "wss"
        } else {
            "ws"
        };
        format!("{scheme}://{address}/ws")
    }

    /// Where backends connect, by gRPC and HTTP.
    pub(crate) fn api(&self) -> anyhow::Result<String> {
        Ok(self.api_at(self.outside(|it| it.core_gateway)?))
    }

    fn api_at(&self, address: SocketAddr) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{address}")
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
                let api = self.outside(|it| it.core_gateway)?;
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
        let mut sum = 0.0;
        for slot in self.slots_of(part).filter(|it| it.running.is_some()) {
            sum += slot.metric(words).await?;
        }
        Ok(sum)
    }

    /// Where the data is kept.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.kind, &self.folder, Part::Core)
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

    /// Makes tokens of many users, several at a time.
    pub(crate) async fn make_tokens(&self, users: &[String]) -> anyhow::Result<()> {
        let making = stream::iter(users.to_vec()).map(|user| async move {
            let token = self.new_token(&user, None).await?;
            anyhow::Ok(((user, None), token))
        });
        let made: Vec<_> = making
            .buffer_unordered(TOKENS_AT_A_TIME)
            .try_collect()
            .await?;
        self.tokens.lock().await.extend(made);
        Ok(())
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
        let data = text(&data(self.kind, &self.folder, self.owner_of(Part::Edge)))?;
        let scopes = scopes.join(",");
        let mut arguments = vec![
            "apikey", "create", "--name", "test", "--scope", &scopes, "--data", &data, "--json",
        ];
        let settings = self.beside.servers.as_ref().map(Servers::settings);
        let settings = settings.unwrap_or_default();
        arguments.extend(settings.iter().flat_map(|it| ["--set", it.as_str()]));
        let line = process::run(&arguments).await?;
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

    fn slots_of(&self, part: Part) -> impl Iterator<Item = &Slot> {
        let part = self.owner_of(part);
        self.slots.iter().filter(move |it| it.plan.part == part)
    }

    fn place(&self, part: Part) -> anyhow::Result<&Slot> {
        let slot = self.slots_of(part).next();
        slot.with_context(|| format!("{part:?} has no process"))
    }

    /// Takes what runs of a part.
    fn take(&mut self, part: Part) -> anyhow::Result<Vec<Process>> {
        let part = self.owner_of(part);
        let slots = self.slots.iter_mut().filter(|it| it.plan.part == part);
        let running: Vec<_> = slots.filter_map(|it| it.running.take()).collect();
        ensure!(!running.is_empty(), "{part:?} does not run");
        Ok(running)
    }

    /// The numbers of a part's processes.
    pub(crate) fn ids(&self, part: Part) -> anyhow::Result<Vec<u32>> {
        let running = self.slots_of(part).filter_map(|it| it.running.as_ref());
        let ids: Vec<_> = running.map(Process::id).collect::<anyhow::Result<_>>()?;
        ensure!(!ids.is_empty(), "{part:?} does not run");
        Ok(ids)
    }

    /// The number of a part's only process.
    pub(crate) fn id(&self, part: Part) -> anyhow::Result<u32> {
        let ids = self.ids(part)?;
        ensure!(ids.len() == 1, "{part:?} has {} processes", ids.len());
        Ok(ids[0])
    }

    /// Sends a part a signal that it outlives, such as STOP or CONT.
    pub(crate) async fn signal(&self, part: Part, signal: &str) -> anyhow::Result<()> {
        for id in self.ids(part)? {
            process::signal(id, signal).await?;
        }
        Ok(())
    }

    /// Kills a part with signal 9.
    pub(crate) async fn kill9(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.take(part)?;
        let killing = running.into_iter().map(Process::kill9);
        futures::future::try_join_all(killing).await.map(|_| ())
    }

    /// Lets a part's writes fail, and demands that it ends by itself.
    pub(crate) async fn fail_writes(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.take(part)?;
        let failing = running.into_iter().map(Process::fail_writes);
        futures::future::try_join_all(failing).await.map(|_| ())
    }

    /// Waits for the end of a part that nobody asked to end, and demands that it says why.
    pub(crate) async fn fails(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.take(part)?;
        let failing = running.into_iter().map(Process::fails);
        futures::future::try_join_all(failing).await.map(|_| ())
    }

    /// Stops a part, and demands that it ends cleanly.
    pub(crate) async fn stop(&mut self, part: Part) -> anyhow::Result<()> {
        let running = self.take(part)?;
        let stopping = running.into_iter().map(Process::stop);
        futures::future::try_join_all(stopping).await.map(|_| ())
    }

    /// Starts a part again that was killed or stopped, at the addresses that it had.
    pub(crate) async fn start_again(&mut self, part: Part) -> anyhow::Result<()> {
        let part = self.owner_of(part);
        self.start_those(|it| it.part == part).await
    }

    /// Stops all that runs, cleanly.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<()> {
        for part in [Part::Edge, Part::Core] {
            let slots = self.slots.iter_mut().filter(|it| it.plan.part == part);
            let running: Vec<_> = slots.filter_map(|it| it.running.take()).collect();
            let stopping = running.into_iter().map(Process::stop);
            futures::future::try_join_all(stopping).await?;
        }
        Ok(())
    }
}

async fn start(
    kind: Kind,
    plan: &Plan,
    folder: &Path,
    beside: &Beside,
    at: &Addresses,
    core: &Addresses,
) -> anyhow::Result<Process> {
    let arguments = plan::arguments(plan, kind, folder, beside, at, Some(core))?;
    let log = folder.join("logs").join(format!("{}.log", plan.name));
    Process::start(
        &beside.environment,
        plan.service,
        &plan.name,
        &arguments,
        folder,
        &log,
    )
    .await
}

/// The answer to a plain HTTP GET, headers included.
async fn get(at: SocketAddr, path: &str) -> anyhow::Result<String> {
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

/// Where a part of a deployment in `folder` keeps its data. A cluster's processes share the folder: only the key of tokens is in it.
pub(crate) fn data(kind: Kind, folder: &Path, part: Part) -> PathBuf {
    folder.join(match (kind, part) {
        (Kind::Split, Part::Edge) => "edge-data",
        _ => "data",
    })
}
