//! The real binary on a data folder.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_flare");

#[derive(Debug, Deserialize)]
struct Started {
    core_gateway: SocketAddr,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Open as long as the process, so that it can write.
    _stdout: BufReader<ChildStdout>,
    started: Started,
    data: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, without configuration and without the caller's variables.
fn flare(arguments: &[&str], data: &Path) -> Command {
    let mut command = Command::new(BINARY);
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
pub(crate) fn run(arguments: &[&str], data: &Path) -> anyhow::Result<String> {
    let done = flare(arguments, data).output()?;
    ensure!(
        done.status.success(),
        "flare {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(String::from_utf8(done.stdout)?)
}

/// Makes an API key: its id and secret.
pub(crate) fn api_key(data: &Path, name: &str, scopes: &str) -> anyhow::Result<(String, String)> {
    let words = [
        "apikey", "create", "--name", name, "--scope", scopes, "--json",
    ];
    let key: Value = serde_json::from_str(&run(&words, data)?)?;
    let text = |name: &str| Some(key[name].as_str()?.to_owned());
    text("key_id")
        .zip(text("secret"))
        .with_context(|| format!("no key in {key}"))
}

impl Server {
    /// Starts one; ready when this returns. Where it does not start, the error is what it said.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let log = data.with_extension("log");
        let all = [&["up", "--json", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = flare(&all, data)
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        match serde_json::from_str(&line) {
            Ok(started) => Ok(Self {
                child,
                _stdout: stdout,
                started,
                data: data.to_owned(),
            }),
            Err(_) => {
                // Whatever it is, it is no server.
                let _ = child.kill();
                let status = child.wait()?;
                let said = std::fs::read_to_string(&log)?;
                Err(anyhow::anyhow!("it ended with {status}: {line}{said}"))
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
