//! The real binary on a data folder, which may not let it start.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A start that is neither done nor refused by then hangs.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct Started {
    core_gateway: SocketAddr,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    started: Started,
    data: PathBuf,
}

/// Why none runs, with all that it said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("it ended: {0}")]
    Ended(String),
    #[error("it hangs: {0}")]
    Hangs(String),
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, without configuration and without the caller's variables.
fn flare(binary: &Path, arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .arg("--data")
        .arg(data)
        .current_dir(data.parent().unwrap_or(data))
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// Runs a command on a data folder to its end: what it printed.
pub(crate) fn run(binary: &Path, arguments: &[&str], data: &Path) -> anyhow::Result<String> {
    let done = flare(binary, arguments, data).output()?;
    ensure!(
        done.status.success(),
        "flare {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(String::from_utf8(done.stdout)?)
}

/// Makes an API key: its id and secret.
pub(crate) fn api_key(
    binary: &Path,
    data: &Path,
    name: &str,
    scopes: &str,
) -> anyhow::Result<(String, String)> {
    let words = [
        "apikey", "create", "--name", name, "--scope", scopes, "--json",
    ];
    let key: Value = serde_json::from_str(&run(binary, &words, data)?)?;
    let text = |name: &str| Some(key[name].as_str()?.to_owned());
    text("key_id")
        .zip(text("secret"))
        .with_context(|| format!("no key in {key}"))
}

impl Server {
    /// Starts one with these settings, such as `log.segment_bytes=4194304`; ready when this returns.
    pub(crate) fn start(binary: &Path, data: &Path, settings: &[&str]) -> Result<Self, NotStarted> {
        let log = data.with_extension("log");
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let mut arguments = vec!["up", "--json", "--listen", "127.0.0.1:0"];
        arguments.extend(settings.iter().flat_map(|it| ["--set", it]));
        let spawned = File::create(&log).and_then(|log| {
            flare(binary, &arguments, data)
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
        });
        let mut child = spawned.map_err(|error| NotStarted::Ended(error.to_string()))?;
        let (sender, line) = sync_channel(1);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut lines = BufReader::new(stdout).lines();
                let _ = sender.send(lines.next().and_then(Result::ok).unwrap_or_default());
                // Open as long as the process, so that it can write.
                lines.for_each(drop);
            });
        }
        let line = line.recv_timeout(STARTED_WITHIN);
        let started = line.as_ref().ok().map(|it| serde_json::from_str(it));
        match started {
            Some(Ok(started)) => Ok(Self {
                child,
                started,
                data: data.to_owned(),
            }),
            other => {
                // Whatever it is, it is no server.
                let _ = child.kill();
                let _ = child.wait();
                Err(match other {
                    Some(_) => NotStarted::Ended(said()),
                    None => NotStarted::Hangs(said()),
                })
            }
        }
    }

    /// Where backends connect.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.started.core_gateway)
    }

    /// Asks it to end, and demands that it does so cleanly.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let signalled = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        ensure!(signalled.success(), "kill: {signalled}");
        let ended = self.child.wait()?;
        let said = std::fs::read_to_string(self.data.with_extension("log"))?;
        ensure!(ended.success(), "the server ended with {ended}: {said}");
        Ok(())
    }
}
