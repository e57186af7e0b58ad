//! What `up` and `run` share: configuration, telemetry, signals.

use std::path::Path;

use anyhow::Context;
use flare_server_core::{
    config::{ConfigLoader, ConfigMistakes, Loaded, Mistake},
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
    let loaded = loader.load()?;
    every_need_is_named(&loaded, roles)?;
    schemes_fit_tls(&loaded)?;
    Ok(loaded)
}

/// Each service that these roles call runs here or stands in the registry: without it the process would be ready and could do nothing.
fn every_need_is_named(loaded: &Loaded<Config>, roles: &[Role]) -> Result<(), ConfigMistakes> {
    const KEY: &str = "registry.services";
    let named = &loaded.config.registry.services;
    let is_missing =
        |needed: &Role| !roles.contains(needed) && !named.contains_key(needed.service());
    let mistakes: Vec<_> = Role::ALL
        .into_iter()
        .filter(is_missing)
        .filter_map(|needed| {
            let callers = roles.iter().filter(|role| role.needs().contains(&needed));
            let callers = callers.map(Role::to_string).collect::<Vec<_>>().join(", ");
            (!callers.is_empty()).then(|| Mistake {
                origin: loaded.origin(KEY).unwrap_or_default(),
                key: format!("{KEY}.{}", needed.service()),
                message: format!(
                    "is missing: {callers} here, {needed} not; say where it answers, such as [\"http://127.0.0.1:7301\"], or run it here"
                ),
            })
        })
        .collect();
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(ConfigMistakes(mistakes))
    }
}

/// Where processes speak TLS among themselves they reach each other by https alone, and by http where they do not.
fn schemes_fit_tls(loaded: &Loaded<Config>) -> Result<(), ConfigMistakes> {
    const KEY: &str = "registry.services";
    let wanted = if loaded.config.peer.tls.is_on() {
        "https://"
    } else {
        "http://"
    };
    let mut mistakes = Vec::new();
    for (service, endpoints) in &loaded.config.registry.services {
        for endpoint in endpoints.iter().filter(|it| !it.starts_with(wanted)) {
            let key = format!("{KEY}.{service}");
            mistakes.push(Mistake {
                origin: loaded.origin(&key).unwrap_or_default(),
                key,
                message: format!(
                    "{endpoint} must begin with {wanted}, as peer.tls {}",
                    if loaded.config.peer.tls.is_on() {
                        "is set"
                    } else {
                        "is not set"
                    }
                ),
            });
        }
    }
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(ConfigMistakes(mistakes))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(roles: &[Role], set: &[&str]) -> Result<(), String> {
        let loaded = ConfigLoader::new()
            .overrides(set.iter().copied())
            .load::<Config>()
            .map_err(|it| it.to_string())?;
        every_need_is_named(&loaded, roles).map_err(|it| it.to_string())
    }

    #[test]
    fn what_a_role_calls_runs_beside_it_or_is_named() {
        assert_eq!(load(&Role::ALL, &[]), Ok(()));
        assert_eq!(load(&[Role::StorageWriter], &[]), Ok(()));
        let alone = load(&[Role::MessageOrchestrator], &[]).expect_err("nobody to ask");
        let lines = alone.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 2, "{alone}");
        assert!(
            lines[1]
                .contains("registry.services.flare-session: is missing: message-orchestrator here"),
            "{alone}"
        );
        assert_eq!(
            load(
                &[Role::MessageOrchestrator],
                &["registry.services.flare-session=[\"http://127.0.0.1:7301\"]"]
            ),
            Ok(())
        );
        assert_eq!(
            load(&[Role::MessageOrchestrator, Role::Session], &[]).map_err(|it| it.lines().count()),
            Err(3)
        );
    }

    #[test]
    fn the_registry_knows_services_and_where_they_answer() {
        for wrong in [
            "registry.services.flare-sessions=[\"http://127.0.0.1:7301\"]",
            "registry.services.flare-session=[]",
            "registry.services.flare-session=[\"127.0.0.1:7301\"]",
        ] {
            let refused = load(&Role::ALL, &[wrong]).expect_err(wrong);
            assert!(
                refused.contains("registry.services.flare-session"),
                "{refused}"
            );
        }
    }
}
