//! What a scenario plays in: a server, people with devices, and a judge at the end.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use flare_checker::{ClientEvent, Counts, Verdict};
use flare_core_sdk::{Codec, TokenSource};

use crate::{
    cable::Cable,
    clock::Clock,
    collector::Collector,
    deployment::{self, Beside, Deployment, Kind, Part, Servers},
    disk::Disk,
    judge::{self, Backend, Hour, Minimums},
    network::Network,
    person::{Device, Person},
    raw::Raw,
    recorder::Recorder,
};

const MEMORY: &str = "process_resident_memory_bytes";

/// How a server traces.
pub(crate) struct Tracing {
    /// The share of traces that is sampled.
    pub(crate) ratio: f64,
    /// What takes as long is slow.
    pub(crate) slow: Duration,
}

/// What a scenario needs beside a server as it is.
pub(crate) struct Needs {
    /// How the server traces; None: it does not.
    pub(crate) tracing: Option<Tracing>,
    /// Settings of every process, beside those of every scenario.
    pub(crate) settings: &'static [&'static str],
    /// What is kept on a disk of its own.
    pub(crate) disk: Option<SmallDisk>,
    /// The server goes by a clock that the scenario sets.
    pub(crate) clock: bool,
    /// A cluster reaches the servers that it stands on by ways that the scenario disturbs.
    pub(crate) network: bool,
    /// Nodes of Kafka that a cluster has at least; 0: however many there are.
    pub(crate) kafka_nodes: usize,
}

/// A disk that holds some of the data and nothing else.
pub(crate) struct SmallDisk {
    /// A folder of the data folder; empty: that one.
    pub(crate) below: &'static str,
    pub(crate) bytes: u64,
}

impl Needs {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        tracing: None,
        settings: &[],
        disk: None,
        clock: false,
        network: false,
        kafka_nodes: 0,
    };
}

/// A stage with a running server.
pub(crate) struct Scene {
    pub(crate) server: Deployment,
    /// The data's own, if they have one. After the server: it goes when nobody uses it any more.
    disk: Option<Disk>,
    /// The server's own, if it goes by one.
    clock: Option<Clock>,
    /// Of a cluster, if it is to be disturbed. After the server, which uses it to its end.
    network: Option<Network>,
    folder: PathBuf,
    backend: Backend,
    /// The backend's.
    key: String,
    /// Where devices connect, if it is not at a gateway itself.
    entrance: Option<[Cable; 2]>,
    /// Of a server that traces.
    collector: Option<Collector>,
    /// What the harness itself does: restarts.
    harness: Recorder,
    histories: Mutex<Vec<PathBuf>>,
    next_history: AtomicU32,
}

impl Scene {
    /// Starts a server whose data, logs and histories are kept below `folder`, with a collector for its spans if it traces.
    pub(crate) async fn set(kind: Kind, folder: &Path, needs: &Needs) -> anyhow::Result<Self> {
        let mut settings: Vec<String> = needs.settings.iter().map(|it| (*it).to_owned()).collect();
        let mut collector = None;
        if let Some(tracing) = &needs.tracing {
            let collector = collector.insert(Collector::start().await?);
            settings.extend([
                format!("telemetry.otlp_endpoint={}", collector.endpoint()),
                format!("telemetry.sample_ratio={:?}", tracing.ratio),
                format!("telemetry.slow_ms={}", tracing.slow.as_millis()),
            ]);
        }
        let data = deployment::data(kind, folder, Part::Core);
        let mount = |it: &SmallDisk| Disk::mount(&data.join(it.below), it.bytes);
        let disk = needs.disk.as_ref().map(mount).transpose()?;
        let clock = needs.clock.then(|| Clock::wind(folder)).transpose()?;
        let environment = clock.as_ref().map(Clock::environment).transpose()?;
        let mut servers = match kind {
            Kind::Cluster => Some(Servers::of(folder)?),
            Kind::Embedded | Kind::Split => None,
        };
        if let Some(servers) = &servers {
            let nodes = servers.kafka_nodes();
            ensure!(
                nodes >= needs.kafka_nodes,
                "Kafka has {nodes} nodes, and {} are needed: `cargo xtask infra up --kafka-nodes 3` starts three",
                needs.kafka_nodes
            );
        }
        let network = match &mut servers {
            Some(servers) if needs.network => Some(Network::lay(servers).await?),
            _ => None,
        };
        let beside = Beside {
            settings,
            environment: environment.unwrap_or_default(),
            servers,
        };
        let server = Deployment::start(kind, folder, beside).await?;
        std::fs::create_dir_all(folder.join("histories"))?;
        let key = server
            .api_key(&["read", "send", "conversations", "admin"])
            .await?;
        let backend = Backend::new(&server.api()?, server.authority(), &key)?;
        let path = folder.join("histories").join("harness.jsonl");
        let harness = Recorder::open(&path, "harness", "harness")?;
        Ok(Self {
            server,
            disk,
            clock,
            network,
            folder: folder.to_owned(),
            backend,
            key,
            entrance: None,
            collector,
            harness,
            histories: Mutex::new(vec![path]),
            next_history: AtomicU32::new(0),
        })
    }

    /// The server, as a backend with an API key sees it.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Devices and the backend have one address each from here on, behind which a connection finds any gateway that answers.
    pub(crate) async fn opens_entrance(&mut self) -> anyhow::Result<()> {
        let clients = Cable::lay_in_turn(&self.server.urls()).await?;
        let backends = Cable::lay_in_turn(&self.server.apis()).await?;
        self.backend = Backend::new(backends.url(), self.server.authority(), &self.key)?;
        self.entrance = Some([clients, backends]);
        Ok(())
    }

    /// The disk that the data have for themselves.
    pub(crate) fn disk(&self) -> anyhow::Result<&Disk> {
        self.disk
            .as_ref()
            .context("the data have no disk of their own")
    }

    /// The clock that the server goes by.
    pub(crate) fn clock(&self) -> anyhow::Result<&Clock> {
        self.clock.as_ref().context("the server has no own clock")
    }

    /// The ways to the servers that a cluster stands on.
    pub(crate) fn network(&self) -> anyhow::Result<&Network> {
        self.network
            .as_ref()
            .context("the servers are reached directly")
    }

    /// The memory of all processes together, in bytes.
    pub(crate) async fn memory(&self) -> anyhow::Result<f64> {
        let mut all = 0.0;
        for part in self.server.parts() {
            all += self.server.metric_of(*part, &[MEMORY]).await?;
        }
        Ok(all)
    }

    /// Takes the collector of a server that traces.
    pub(crate) fn take_collector(&mut self) -> anyhow::Result<Collector> {
        self.collector.take().context("the server does not trace")
    }

    /// All that the processes have logged.
    pub(crate) fn logs(&self) -> anyhow::Result<String> {
        let mut logs = String::new();
        for entry in std::fs::read_dir(self.folder.join("logs"))? {
            logs.push_str(&std::fs::read_to_string(entry?.path())?);
        }
        Ok(logs)
    }

    /// All that one process has logged.
    pub(crate) fn log_of(&self, process: &str) -> anyhow::Result<String> {
        let log = self.folder.join("logs").join(format!("{process}.log"));
        std::fs::read_to_string(&log).with_context(|| log.display().to_string())
    }

    /// Where histories are kept.
    pub(crate) fn histories_folder(&self) -> PathBuf {
        self.folder.join("histories")
    }

    /// Takes in a history that somebody else writes.
    pub(crate) fn add_history(&self, path: PathBuf) {
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path);
    }

    /// A new history of a user's device.
    pub(crate) fn recorder(&self, user: &str, device: &str) -> anyhow::Result<Recorder> {
        let number = self.next_history.fetch_add(1, Ordering::Relaxed);
        let path = self
            .histories_folder()
            .join(format!("{number:03}-{user}-{device}.jsonl"));
        let recorder = Recorder::open(&path, user, device)?;
        self.add_history(path);
        Ok(recorder)
    }

    /// How a user's device connects.
    pub(crate) async fn device(&self, user: &str, device: &str) -> anyhow::Result<Device> {
        let token = self.server.token(user, None).await?;
        let url = match &self.entrance {
            Some([clients, _]) => clients.url().to_owned(),
            None => self.server.url()?,
        };
        Ok(Device {
            url,
            trust: self.server.trust()?,
            user: user.to_owned(),
            device: device.to_owned(),
            token: TokenSource::Fixed(token),
            codec: Codec::Proto,
        })
    }

    /// A user's device comes online for the first time.
    pub(crate) async fn arrives(&self, user: &str, device: &str) -> anyhow::Result<Person> {
        self.arrives_with(user, device, |_| {}).await
    }

    /// Likewise, in another way.
    pub(crate) async fn arrives_with(
        &self,
        user: &str,
        device: &str,
        change: impl FnOnce(&mut Device),
    ) -> anyhow::Result<Person> {
        let mut options = self.device(user, device).await?;
        change(&mut options);
        let person = Person::arrive(options, self.recorder(user, device)?);
        person.in_step().await?;
        Ok(person)
    }

    /// A user's device that speaks frames without the SDK.
    pub(crate) async fn raw(&self, user: &str, device: &str) -> anyhow::Result<Raw> {
        Raw::arrive(
            self.device(user, device).await?,
            self.recorder(user, device)?,
        )
        .await
    }

    /// Kills a part with signal 9 and starts it again.
    pub(crate) async fn crash(&mut self, part: Part) -> anyhow::Result<()> {
        self.server.kill9(part).await?;
        self.comes_back(part).await
    }

    /// Lets a part's writes fail until it ends by itself, and starts it again on files that can be written.
    pub(crate) async fn fail_writes(&mut self, part: Part) -> anyhow::Result<()> {
        self.server.fail_writes(part).await?;
        self.comes_back(part).await
    }

    /// Stops a part cleanly and starts it again.
    pub(crate) async fn restart(&mut self, part: Part) -> anyhow::Result<()> {
        self.server.stop(part).await?;
        self.comes_back(part).await
    }

    /// Notes that a part is started again, and does so.
    pub(crate) async fn comes_back(&mut self, part: Part) -> anyhow::Result<()> {
        self.harness.write(ClientEvent::Restart);
        self.server.start_again(part).await
    }

    /// Notes that one process of a cluster is started again, and does so.
    pub(crate) async fn brings_back(&mut self, process: &str) -> anyhow::Result<()> {
        self.harness.write(ClientEvent::Restart);
        self.server.start_again_of(process).await
    }

    /// Waits until everybody has read all that the server keeps for him.
    pub(crate) async fn quiesce<'a>(
        &self,
        people: impl IntoIterator<Item = &'a Person>,
    ) -> anyhow::Result<()> {
        for person in people {
            person.in_step().await?;
            let conversations: Vec<String> = person.look(|view| view.memberships(person.user()));
            for conversation in conversations {
                let head = self.backend.head(&conversation).await?;
                person.reads_to(&conversation, head).await?;
            }
        }
        Ok(())
    }

    /// The end: everybody claims to have read everything, the judge demands that all promises were kept and enough happened, and the server stops.
    pub(crate) async fn ends(self, people: Vec<Person>, minimums: Minimums) -> anyhow::Result<()> {
        self.ends_with(people, minimums).await.map(|_| ())
    }

    /// Likewise; what was seen.
    pub(crate) async fn ends_with(
        mut self,
        people: Vec<Person>,
        minimums: Minimums,
    ) -> anyhow::Result<Counts> {
        let verdict = self.judgement(people, minimums).await?;
        self.server.stop_all().await.context("at the end")?;
        Ok(verdict.counts)
    }

    /// Likewise, and the server runs on. The verdict is kept beside the histories.
    pub(crate) async fn is_judged(
        &self,
        people: Vec<Person>,
        minimums: Minimums,
    ) -> anyhow::Result<()> {
        self.judgement(people, minimums).await.map(|_| ())
    }

    async fn judgement(&self, people: Vec<Person>, minimums: Minimums) -> anyhow::Result<Verdict> {
        self.quiesce(&people).await?;
        for person in people {
            person.claims_all().await?;
        }
        let verdict = self.verdict().await?;
        std::fs::write(self.folder.join("verdict.txt"), verdict.to_string())?;
        judge::demand(&verdict, &minimums.into())?;
        Ok(verdict)
    }

    /// What the histories show, now that nobody does anything any more.
    pub(crate) async fn verdict(&self) -> anyhow::Result<Verdict> {
        judge::judge(&self.backend, &self.histories(), Hour::After).await
    }

    /// What the histories show while their clients go on.
    pub(crate) async fn verdict_so_far(&self) -> anyhow::Result<Verdict> {
        judge::judge(&self.backend, &self.histories(), Hour::Meanwhile).await
    }

    /// The heads of all conversations that some histories tell of.
    pub(crate) async fn heads(
        &self,
        histories: &[PathBuf],
    ) -> anyhow::Result<HashMap<String, u64>> {
        let mut heads = HashMap::new();
        for conversation in judge::told_of(histories)? {
            let head = self.backend.head(&conversation).await?;
            heads.insert(conversation, head);
        }
        Ok(heads)
    }

    /// The folder of everything.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files of all histories.
    pub(crate) fn histories(&self) -> Vec<PathBuf> {
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
