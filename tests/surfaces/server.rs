//! The real binary, as a process that ends with the test.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    identity::{IdentityConfig, LocalJwt},
};
use serde::Deserialize;

const BINARY: &str = env!("CARGO_BIN_EXE_flare");
/// Tenants that the server has.
pub(crate) const TENANTS: [&str; 2] = ["default", "other"];
/// A tenant that it has not.
pub(crate) const NO_TENANT: &str = "elsewhere";

#[derive(Debug, Deserialize)]
struct Started {
    access_gateway: SocketAddr,
    core_gateway: SocketAddr,
    data: PathBuf,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Open as long as the process, so that it can write.
    _stdout: BufReader<ChildStdout>,
    started: Started,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with these arguments, in a folder without configuration and without the caller's variables.
pub(crate) fn flare(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str], folder: &Path) -> anyhow::Result<Output> {
    flare(arguments, folder)
        .output()
        .with_context(|| arguments.join(" "))
}

impl Server {
    /// Starts one with these further arguments; ready when this returns.
    pub(crate) fn start(arguments: &[&str], folder: &Path) -> anyhow::Result<Self> {
        let all = [&["up", "--json", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut child = flare(&all, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let started = serde_json::from_str(&line);
        if started.is_err() {
            // Its end is waited for by nobody else.
            let _ = child.kill();
            let _ = child.wait();
        }
        let started = started.with_context(|| format!("flare up said {line:?}"))?;
        Ok(Self {
            child,
            _stdout: stdout,
            started,
        })
    }

    /// One with a temporary folder, both tenants and these further settings.
    pub(crate) fn ephemeral(folder: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        let tenants = format!("identity.tenants=[\"{}\"]", TENANTS.join("\",\""));
        let mut arguments = vec!["--ephemeral", "--set", &tenants];
        arguments.extend(settings.iter().flat_map(|it| ["--set", it]));
        Self::start(&arguments, folder)
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Where clients connect.
    pub(crate) fn link(&self) -> String {
        format!("ws://{}/ws", self.started.access_gateway)
    }

    /// Where backends connect.
    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.started.core_gateway)
    }

    /// Makes an API key of a tenant with the command line: its id and secret.
    pub(crate) fn api_key(&self, tenant: &str, scopes: &str) -> anyhow::Result<(String, String)> {
        let line = self.command(&[
            "apikey",
            "create",
            "--name",
            "of-the-test",
            "--tenant",
            tenant,
            "--scope",
            scopes,
            "--json",
        ])?;
        let key: serde_json::Value = serde_json::from_str(&line)?;
        let text = |name: &str| {
            key[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no {name} in {line}"))
        };
        Ok((text("key_id")?, text("secret")?))
    }

    /// Makes an API key worthless.
    pub(crate) fn revoke_api_key(&self, id: &str) -> anyhow::Result<()> {
        self.command(&["apikey", "revoke", id]).map(drop)
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let data = self
            .started
            .data
            .to_str()
            .context("a data folder with a name in UTF-8")?;
        let done = run(&[arguments, &["--data", data]].concat(), &self.started.data)?;
        ensure!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(String::from_utf8(done.stdout)?)
    }

    /// A token by the server's own key, made `age` ago and good for an hour from then.
    pub(crate) fn token(
        &self,
        tenant: &str,
        user: &str,
        device: Option<&str>,
        age: Duration,
    ) -> anyhow::Result<String> {
        let tenants = [&TENANTS[..], &[NO_TENANT]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let identity = IdentityConfig {
            tenants,
            ..IdentityConfig::default()
        };
        let signer = LocalJwt::open(&identity, &self.started.data, &IdSource::from_os())?;
        let made_ms = SystemClock.now_ms() - i64::try_from(age.as_millis())?;
        Ok(signer.mint(tenant, user, device, Duration::from_secs(3_600), made_ms)?)
    }
}
