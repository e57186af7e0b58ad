//! What `up` and `run` share: configuration, telemetry, signals.

use std::path::Path;

use anyhow::Context;
use flare_server_core::{
    config::{ConfigLoader, Loaded},
    telemetry::{self, ProcessInfo, Telemetry},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{cli::ConfigArgs, compose::Process, config::Config, role::Role};

/// The folder of the configuration files, if none is named.
const CONFIG_FOLDER: &str = "config";
/// What telemetry calls every process, whatever roles it runs.
const SERVICE: &str = "flare";

/// Loads the configuration of a process that runs these roles. `argument` is one that stands for TOML, above every other layer.
pub fn load(
    args: &ConfigArgs,
    roles: &[Role],
    argument: Option<(&str, String)>,
) -> anyhow::Result<Loaded<Config>> {
    let mut loader = ConfigLoader::new();
    loader = match &args.config {
        Some(folder) => loader.folder(folder),
        None => loader.folder_if_present(CONFIG_FOLDER),
    };
    if let Some(environment) = &args.environment {
        loader = loader.environment(environment);
    }
    loader = loader
        .services(roles.iter().map(|role| role.service()))
        .process_variables()
        .overrides(args.set.iter().cloned());
    if let Some((name, toml)) = argument {
        loader = loader.argument(name, toml);
    }
    Ok(loader.load()?)
}

/// Begins logs, metrics and traces of a process that runs these roles, and raises the limit of open files.
pub fn begin(config: &Config, roles: &[Role]) -> anyhow::Result<Telemetry> {
    let roles = roles.iter().map(Role::to_string).collect();
    let telemetry = telemetry::init(&config.telemetry, &ProcessInfo::of(SERVICE, roles))?;
    match rlimit::increase_nofile_limit(config.process.open_files) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    Ok(telemetry)
}

/// The data folder, made if it is not there, and whether it holds a log already.
pub fn data_folder(path: &Path) -> anyhow::Result<(std::path::PathBuf, bool)> {
    let cannot = || format!("data folder {}", path.display());
    std::fs::create_dir_all(path).with_context(cannot)?;
    let folder = path.canonicalize().with_context(cannot)?;
    let used = folder.join("log").exists();
    Ok((folder, used))
}

/// Serves until a signal; a second one kills. Spans that wait are sent at the end.
pub async fn serve(process: Process, telemetry: Telemetry) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let ended = {
        let (first, second) = signals.both();
        process.serve(first, second).await
    };
    tokio::task::spawn_blocking(move || telemetry.flush()).await?;
    Ok(ended?)
}

/// SIGINT and SIGTERM, counted.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    again_interrupt: Signal,
    again_terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            again_interrupt: signal(SignalKind::interrupt())?,
            again_terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves with the first signal, and with the second.
    fn both(&mut self) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let Self {
            interrupt,
            terminate,
            again_interrupt,
            again_terminate,
        } = self;
        let first = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let second = async {
            // Each listener hears every signal: the first is not the second.
            for _ in 0..2 {
                tokio::select! {
                    _ = again_interrupt.recv() => {}
                    _ = again_terminate.recv() => {}
                }
            }
        };
        (first, second)
    }
}
