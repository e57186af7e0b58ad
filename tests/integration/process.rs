//! One server process: started from the real binary, watched, killed, stopped.

use std::{
    fs::{File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::{Instant, timeout},
};

/// The binary that was built with the tests.
const BUILT: &str = env!("CARGO_BIN_EXE_flare");
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Chooses the binary under test, before anything is started.
pub(crate) fn choose(binary: Option<&Path>) {
    CHOSEN.get_or_init(|| binary.unwrap_or(Path::new(BUILT)).to_owned());
}

/// The binary under test.
fn binary() -> &'static Path {
    CHOSEN.get().map_or(Path::new(BUILT), PathBuf::as_path)
}

/// The binary of a service, which is built beside `flare`.
fn binary_of(service: Option<&str>) -> anyhow::Result<PathBuf> {
    let Some(service) = service else {
        return Ok(binary().to_owned());
    };
    let path = binary().with_file_name(service);
    ensure!(
        path.exists(),
        "{} is not there: `cargo build --workspace --bins` builds it",
        path.display()
    );
    Ok(path)
}

/// A process that is not ready by then never will be.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A process that was asked to stop has stopped by then.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
/// What runs the binary: a write beyond the limit of a file's size is an error for it then, and not its end.
const SHELL: [&str; 3] = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
/// The size beyond which files cannot be written any more, once they are not to be.
const NO_FILE_GROWS: u64 = 4_096;
/// For so long a port may be taken by a connection that is on its way out.
const PORT_FREE_WITHIN: Duration = Duration::from_secs(10);

/// Where a process answers, as it says itself.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) access_gateway: Option<SocketAddr>,
    pub(crate) core_gateway: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) ops: Option<SocketAddr>,
}

/// A server process that is ready.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Open as long as the process, so that it can write.
    _stdout: BufReader<ChildStdout>,
    pub(crate) addresses: Addresses,
}

impl Process {
    /// Starts `flare`, or the binary of a service, with these arguments, with this in its environment besides, and waits for the line that says where it answers. What it logs goes to `log`.
    pub(crate) async fn start(
        environment: &[(String, String)],
        service: Option<&str>,
        name: &str,
        arguments: &[String],
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let deadline = Instant::now() + PORT_FREE_WITHIN;
        loop {
            match Self::try_start(environment, service, name, arguments, folder, log).await {
                // A port that was bound before may be somebody's outgoing one for a moment.
                Err(error)
                    if Instant::now() < deadline && format!("{error:#}").contains("in use") => {}
                done => return done,
            }
        }
    }

    async fn try_start(
        environment: &[(String, String)],
        service: Option<&str>,
        name: &str,
        arguments: &[String],
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let written_before = std::fs::metadata(log).map_or(0, |it| it.len());
        let [shell, words @ ..] = SHELL;
        let binary = binary_of(service)?;
        let mut command = Command::new(shell);
        without_settings(&mut command);
        let mut child = command
            .args(words)
            .arg(&binary)
            .args(arguments)
            .current_dir(folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(append(log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} {}", binary.display(), arguments.join(" ")))?;
        let mut stdout = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        let read = timeout(READY_WITHIN, stdout.read_line(&mut line)).await;
        let read =
            read.with_context(|| format!("{name} was not ready within {READY_WITHIN:?}"))??;
        if read == 0 {
            let status = child.wait().await?;
            let said = tail_from(log, written_before);
            bail!("{name} ended with {status} before it was ready:\n{said}");
        }
        let addresses =
            serde_json::from_str(&line).with_context(|| format!("{name} said {line:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            _stdout: stdout,
            addresses,
        })
    }

    /// Kills it with signal 9 and waits for its end.
    pub(crate) async fn kill9(mut self) -> anyhow::Result<()> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "{} had ended by itself:\n{}",
            self.name,
            tail(&self.log)
        );
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    /// Lets every write of its files fail from here on, and demands that it ends by itself, with an error.
    pub(crate) async fn fail_writes(self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.id()?)?;
        let limit = (NO_FILE_GROWS, rlimit::INFINITY);
        rlimit::prlimit(pid, rlimit::Resource::FSIZE, Some(limit), None)
            .context("the limit of its files' size")?;
        self.fails().await
    }

    /// Demands that it ends by itself, with an error.
    pub(crate) async fn fails(self) -> anyhow::Result<()> {
        let name = self.name.clone();
        let (status, said) = self.ended().await?;
        ensure!(
            status.code().is_some_and(|code| code != 0),
            "{name} was to fail, and ended with {status}:\n{said}"
        );
        Ok(())
    }

    /// Its number.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        self.child
            .id()
            .with_context(|| format!("{} had ended by itself:\n{}", self.name, tail(&self.log)))
    }

    /// Asks it to end (SIGTERM), and demands that it does so cleanly.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.terminate().await?;
        let name = self.name.clone();
        let (status, said) = self.ended().await?;
        ensure!(status.success(), "{name} stopped with {status}:\n{said}");
        Ok(())
    }

    /// Asks it to end (SIGTERM).
    pub(crate) async fn terminate(&self) -> anyhow::Result<()> {
        signal(self.id()?, "TERM").await
    }

    /// Waits for the end of one that was asked to: how it ended, and the last lines that it logged.
    pub(crate) async fn ended(mut self) -> anyhow::Result<(ExitStatus, String)> {
        let ended = timeout(STOPPED_WITHIN, self.child.wait()).await;
        let status = ended
            .with_context(|| format!("{} did not stop within {STOPPED_WITHIN:?}", self.name))??;
        Ok((status, tail(&self.log)))
    }
}

/// Sends a process a signal, by its name.
pub(crate) async fn signal(pid: u32, signal: &str) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status()
        .await?;
    ensure!(status.success(), "kill -{signal} {pid}: {status}");
    Ok(())
}

/// Runs a command of the binary to its end and gives what it printed.
pub(crate) async fn run(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(binary());
    without_settings(&mut command);
    let done = command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "flare {}: {}\n{said}",
        arguments.join(" "),
        done.status
    );
    Ok(String::from_utf8(done.stdout)?)
}

/// A path in an argument or a setting.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path
        .to_str()
        .with_context(|| format!("{} is no UTF-8", path.display()))?
        .to_owned())
}

/// Takes settings of whoever runs the tests away from a command: what `cargo xtask infra up` exports for services, above all.
#[expect(
    clippy::disallowed_methods,
    reason = "what is taken away is no setting of a test"
)]
fn without_settings(command: &mut Command) {
    const NOT_OURS: [&str; 3] = ["RUST_LOG", "KAFKA_BOOTSTRAP_SERVERS", "CONSUL_ENDPOINTS"];
    const OURS: [&str; 2] = ["FLARE_CONFIG", "FLARE_ENVIRONMENT"];
    for (name, _) in std::env::vars_os() {
        let is_setting = name.to_str().is_some_and(|it| {
            it.starts_with("FLARE__") || NOT_OURS.contains(&it) || OURS.contains(&it)
        });
        if is_setting {
            command.env_remove(name);
        }
    }
}

fn append(log: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(log)
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    tail_from(log, 0)
}

fn tail_from(log: &Path, offset: u64) -> String {
    const LINES: usize = 40;
    let bytes = std::fs::read(log).unwrap_or_default();
    let from = usize::try_from(offset).unwrap_or_default().min(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
