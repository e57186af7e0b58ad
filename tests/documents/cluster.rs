//! The nine services, each in a process of its own, as doc/cluster.md starts them: on the servers of `cargo xtask infra up`, with names of their own there.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use flare_server_core::registry::service;
use serde::Deserialize;
use tempfile::TempDir;

use crate::server::{binary_folder, clean, flare};

const ANY_PORT: &str = "127.0.0.1:0";
const LISTENERS: [&str; 4] = [
    "access_gateway.listen",
    "core_gateway.listen",
    "peer.listen",
    "process.ops_listen",
];

/// Where a process answers, as it says itself.
#[derive(Deserialize)]
struct Addresses {
    access_gateway: Option<SocketAddr>,
    core_gateway: Option<SocketAddr>,
    ops: Option<SocketAddr>,
}

/// A running cluster, killed with its value.
pub(crate) struct Cluster {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    children: Vec<(&'static str, Child)>,
    addresses: HashMap<&'static str, Addresses>,
}

impl Cluster {
    /// Makes its topics, starts every service, and waits until all are ready.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = settings(folder.path())?;
        let kafka = server("KAFKA")?;
        let replicas = if kafka.split(',').count() < 3 {
            "1"
        } else {
            "3"
        };
        let made = flare(folder.path())
            .args(["topics", "create", "--replicas", replicas])
            .envs(settings.iter().cloned())
            .output()?;
        ensure!(
            made.status.success(),
            "flare topics create: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut cluster = Self {
            folder,
            settings,
            children: Vec::new(),
            addresses: HashMap::new(),
        };
        for known in service::ALL {
            let child = cluster.spawn(known.name)?;
            cluster.children.push((known.name, child));
        }
        for (name, child) in &mut cluster.children {
            let mut line = String::new();
            BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line)?;
            let addresses = serde_json::from_str(&line)
                .with_context(|| format!("{name} said {line:?}\n{}", log(&cluster.folder, name)))?;
            cluster.addresses.insert(name, addresses);
        }
        Ok(cluster)
    }

    fn spawn(&self, name: &'static str) -> anyhow::Result<Child> {
        let binary = binary_folder().join(name);
        let mut command = Command::new(&binary);
        clean(&mut command)
            .args(["--json", "--data", "flare-data"])
            .args(LISTENERS.map(|it| format!("--set={it}={ANY_PORT}")))
            .current_dir(self.folder.path())
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(
                self.folder.path().join(format!("{name}.log")),
            )?);
        command.spawn().with_context(|| {
            format!(
                "{}: `cargo build --workspace --bins` builds it",
                binary.display()
            )
        })
    }

    /// The folder that holds its data folder, `flare-data`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the examples take from the environment: where it is, and that `flare apikey` works on its database.
    pub(crate) fn variables(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let of = |name| self.addresses.get(name).context("every service is there");
        let (access, core) = (of(service::ACCESS_GATEWAY)?, of(service::CORE_GATEWAY)?);
        let clients = access.access_gateway.context("no place for clients")?;
        let backends = core.core_gateway.context("no place for backends")?;
        let ops = core.ops.context("no place for health")?;
        let mut variables = self.settings.clone();
        variables.extend([
            ("FLARE_URL", format!("ws://{clients}/ws")),
            ("FLARE_API", format!("http://{backends}")),
            ("FLARE_OPS", format!("http://{ops}")),
        ]);
        Ok(variables)
    }

    /// Asks all to end, and demands that they do so cleanly.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let ids = self.children.iter().map(|(_, it)| it.id().to_string());
        let signalled = Command::new("kill").args(ids).status()?;
        ensure!(signalled.success(), "kill: {signalled}");
        for (name, child) in &mut self.children {
            let ended = child.wait()?;
            ensure!(
                ended.success(),
                "{name} ended with {ended}\n{}",
                log(&self.folder, name)
            );
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn log(folder: &TempDir, name: &str) -> String {
    std::fs::read_to_string(folder.path().join(format!("{name}.log"))).unwrap_or_default()
}

/// What every process is told, with names that nobody else has in the servers.
fn settings(folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let name = folder.file_name().and_then(|it| it.to_str());
    let name = name.context("a folder without a name")?.to_lowercase();
    let name: String = name
        .chars()
        .filter(|it| it.is_ascii_alphanumeric())
        .collect();
    Ok(vec![
        ("FLARE__PROCESS__ADAPTERS", "cluster".to_owned()),
        ("FLARE__KAFKA__BOOTSTRAP_SERVERS", server("KAFKA")?),
        ("FLARE__KAFKA__PREFIX", format!("{name}.")),
        ("FLARE__KAFKA__PARTITIONS", "8".to_owned()),
        ("FLARE__KAFKA__ALLOW_SINGLE_REPLICA", "true".to_owned()),
        ("FLARE__POSTGRES__URL", server("POSTGRES")?),
        ("FLARE__POSTGRES__SCHEMA_PREFIX", format!("d{name}_")),
        ("FLARE__REDIS__URL", server("REDIS")?),
        ("FLARE__REDIS__PREFIX", name.clone()),
        ("FLARE__ETCD__ENDPOINTS", server("ETCD")?),
        ("FLARE__ETCD__PREFIX", format!("{name}/")),
        (
            "FLARE__PEER__SECRET",
            "the-documents-tests-share-this-secret".to_owned(),
        ),
    ])
}

/// Where a server of `cargo xtask infra up` is.
#[expect(
    clippy::disallowed_methods,
    reason = "where the servers are is no setting of a test"
)]
fn server(name: &str) -> anyhow::Result<String> {
    let variable = format!("FLARE_TEST_{name}");
    std::env::var(&variable).with_context(|| {
        format!("{variable} is not set: `cargo xtask infra up` starts the servers of a cluster and says how to set it")
    })
}
