//! A server as a reader of the documents starts it.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tempfile::TempDir;

/// The group of the demo users is in their inboxes by then.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const BINARY: &str = env!("CARGO_BIN_EXE_flare");
/// Variables of other software that are settings of ours, too.
const FOREIGN_SETTINGS: [&str; 3] = ["RUST_LOG", "KAFKA_BOOTSTRAP_SERVERS", "CONSUL_ENDPOINTS"];

#[derive(Deserialize)]
struct Started {
    access_gateway: String,
    core_gateway: String,
    ops: String,
}

/// A running `flare up`, killed with its value.
pub(crate) struct Server {
    folder: TempDir,
    child: Child,
    started: Started,
}

impl Server {
    /// Starts one in a folder of its own, on free ports.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(&["--listen", "127.0.0.1:0"])
    }

    /// The same, with these arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = std::fs::File::create(folder.path().join("server.log"))?;
        let data = folder.path().join("flare-data");
        let mut child = flare(folder.path())
            .args(["up", "--json", "--data"])
            .arg(&data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut line);
        let started = read
            .map_err(anyhow::Error::from)
            .and_then(|_| Ok(serde_json::from_str(&line)?));
        match started {
            Ok(started) => Ok(Self {
                folder,
                child,
                started,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                let log = std::fs::read_to_string(folder.path().join("server.log"))?;
                Err(error.context(format!("the server said {line:?}\n{log}")))
            }
        }
    }

    /// Waits until the event that made the demo users' group has reached their inboxes.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while Instant::now() < deadline {
            if self
                .metrics()?
                .contains("flare_session_events_total{outcome=\"taken\"}")
            {
                return Ok(());
            }
        }
        anyhow::bail!("the demo users' group was in no inbox within {SETTLED_WITHIN:?}")
    }

    /// What Prometheus would read.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        let metrics = format!("http://{}/metrics", self.started.ops);
        let shown = Command::new("curl")
            .args(["-sS", &metrics])
            .output()
            .context("curl")?;
        Ok(String::from_utf8(shown.stdout)?)
    }

    /// The folder that holds its data folder, `flare-data`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.started.access_gateway)
    }

    /// Where it answers: clients, backends, health and metrics.
    pub(crate) fn addresses(&self) -> [&str; 3] {
        let Started {
            access_gateway,
            core_gateway,
            ops,
        } = &self.started;
        [access_gateway, core_gateway, ops]
    }

    /// What the examples take from the environment.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("FLARE_URL", self.url()),
            ("FLARE_API", format!("http://{}", self.started.core_gateway)),
            ("FLARE_OPS", format!("http://{}", self.started.ops)),
        ]
    }

    /// A user's token.
    pub(crate) fn token(&self, user: &str) -> anyhow::Result<String> {
        let made = flare(self.folder())
            .args(["token", "--user", user])
            .output()?;
        ensure!(
            made.status.success(),
            "flare token: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    /// Asks it to end, and demands that it does so cleanly.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let signalled = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(signalled.success(), "kill: {signalled}");
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command under test, without settings of whoever runs the test.
pub(crate) fn flare(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    clean(command.current_dir(folder).stdin(Stdio::null()));
    command
}

/// Takes settings of whoever runs the test away from a command.
#[expect(
    clippy::disallowed_methods,
    reason = "what is taken away is no setting of ours"
)]
pub(crate) fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let is_setting = name
            .to_str()
            .is_some_and(|name| name.starts_with("FLARE_") || FOREIGN_SETTINGS.contains(&name));
        if is_setting {
            command.env_remove(name);
        }
    }
    command
}

/// The folder of the command under test.
pub(crate) fn binary_folder() -> PathBuf {
    Path::new(BINARY)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}
