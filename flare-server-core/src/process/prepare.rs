//! What comes before a process starts: its configuration, telemetry and folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{BaseConfig, ConfigArgs, Configured};
use crate::{
    config::{ConfigLoader, ConfigMistakes, Loaded, Mistake, Section},
    registry::service,
    telemetry::{self, ProcessInfo, Telemetry, TelemetryError},
};

/// The folder of the configuration files, if none is named.
const CONFIG_FOLDER: &str = "config";
/// Where other services answer.
const REGISTRY: &str = "registry.services";

/// A data folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("data folder {}: {source}", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// Loads the configuration of a process that runs `services`. `preset` is what a binary of one service stands for; `argument` is one that stands for TOML, above every other layer. Sections of services that
/// `S` does not have are passed over.
///
/// # Errors
/// All mistakes of all layers.
pub fn load<S: Section>(
    args: &ConfigArgs,
    services: &[&'static str],
    preset: Option<(&str, String)>,
    argument: Option<(&str, String)>,
) -> Result<Loaded<Configured<S>>, ConfigMistakes> {
    let mut loader = ConfigLoader::new();
    if let Some((name, toml)) = preset {
        loader = loader.preset(name, toml);
    }
    loader = match &args.config {
        Some(folder) => loader.folder(folder),
        None => loader.folder_if_present(CONFIG_FOLDER),
    };
    if let Some(environment) = &args.environment {
        loader = loader.environment(environment);
    }
    let own = S::describe();
    let has = |section: &str| {
        own.iter()
            .any(|it| it.key.split('.').next() == Some(section))
    };
    let elsewhere = service::ALL
        .iter()
        .map(|it| it.section)
        .filter(|it| !has(it));
    loader = loader
        .services(services.iter().copied())
        .elsewhere(elsewhere)
        .process_variables()
        .overrides(args.set.iter().cloned());
    if let Some((name, toml)) = argument {
        loader = loader.argument(name, toml);
    }
    let loaded = loader.load::<Configured<S>>()?;
    let origin = |key: &str| loaded.origin(key).unwrap_or_default();
    every_need_is_named(&loaded.config.base, services, &origin)?;
    schemes_fit_tls(&loaded.config.base, &origin)?;
    Ok(loaded)
}

/// Begins logs, metrics and traces of a process that telemetry calls `name` and that does `roles` of it, and raises the limit of open files.
///
/// # Errors
/// If the configuration of telemetry cannot be used.
pub fn begin(
    config: &BaseConfig,
    name: &str,
    roles: Vec<String>,
) -> Result<Telemetry, TelemetryError> {
    let telemetry = telemetry::init(&config.telemetry, &ProcessInfo::of(name, roles))?;
    match rlimit::increase_nofile_limit(config.process.open_files) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
    Ok(telemetry)
}

/// The data folder, made if it is not there, and whether it holds a log already.
///
/// # Errors
/// Names the folder.
pub fn data_folder(path: &Path) -> Result<(PathBuf, bool), FolderError> {
    let cannot = |source: io::Error| FolderError {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(cannot)?;
    let folder = path.canonicalize().map_err(cannot)?;
    let used = folder.join("log").exists();
    Ok((folder, used))
}

/// Each service that these call runs here or stands in the registry: without it the process would be ready and could do nothing.
fn every_need_is_named(
    config: &BaseConfig,
    services: &[&'static str],
    origin: &dyn Fn(&str) -> String,
) -> Result<(), ConfigMistakes> {
    let short = |name: &str| name.strip_prefix("flare-").unwrap_or(name).to_owned();
    let is_missing = |needed: &&service::Known| {
        !services.contains(&needed.name) && !config.registry.services.contains_key(needed.name)
    };
    let mistakes: Vec<_> = service::ALL
        .iter()
        .filter(is_missing)
        .filter_map(|needed| {
            let callers = service::ALL
                .iter()
                .filter(|it| services.contains(&it.name) && it.needs.contains(&needed.name));
            let callers = callers.map(|it| short(it.name)).collect::<Vec<_>>().join(", ");
            (!callers.is_empty()).then(|| Mistake {
                origin: origin(REGISTRY),
                key: format!("{REGISTRY}.{}", needed.name),
                message: format!(
                    "is missing: {callers} here, {} not; say where it answers, such as [\"http://127.0.0.1:7301\"], or run it here",
                    short(needed.name)
                ),
            })
        })
        .collect();
    refused(mistakes)
}

/// Where processes speak TLS among themselves they reach each other by https alone, and by http where they do not.
fn schemes_fit_tls(
    config: &BaseConfig,
    origin: &dyn Fn(&str) -> String,
) -> Result<(), ConfigMistakes> {
    let (wanted, set) = if config.peer.tls.is_on() {
        ("https://", "is set")
    } else {
        ("http://", "is not set")
    };
    let mut mistakes = Vec::new();
    for (service, endpoints) in &config.registry.services {
        for endpoint in endpoints.iter().filter(|it| !it.starts_with(wanted)) {
            let key = format!("{REGISTRY}.{service}");
            mistakes.push(Mistake {
                origin: origin(&key),
                key,
                message: format!("{endpoint} must begin with {wanted}, as peer.tls {set}"),
            });
        }
    }
    refused(mistakes)
}

fn refused(mistakes: Vec<Mistake>) -> Result<(), ConfigMistakes> {
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(ConfigMistakes(mistakes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; service::ALL.len()] = {
        let mut names = [""; service::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = service::ALL[index].name;
            index += 1;
        }
        names
    };

    fn load(services: &[&'static str], set: &[&str]) -> Result<(), String> {
        let loaded = ConfigLoader::new()
            .overrides(set.iter().copied())
            .load::<BaseConfig>()
            .map_err(|it| it.to_string())?;
        every_need_is_named(&loaded.config, services, &|_| String::new())
            .map_err(|it| it.to_string())
    }

    #[test]
    fn what_a_service_calls_runs_beside_it_or_is_named() {
        assert_eq!(load(&ALL, &[]), Ok(()));
        assert_eq!(load(&[service::STORAGE_WRITER], &[]), Ok(()));
        let alone = load(&[service::ORCHESTRATOR], &[]).expect_err("nobody to ask");
        let lines = alone.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 3, "{alone}");
        for (line, missing) in lines[1..]
            .iter()
            .zip(["flare-signaling-route", "flare-session"])
        {
            let told =
                format!("registry.services.{missing}: is missing: message-orchestrator here");
            assert!(line.contains(&told), "{alone}");
        }
        let named = |it| format!("registry.services.{it}=[\"http://127.0.0.1:7301\"]");
        let both = [named(service::ROUTE), named(service::SESSION)];
        let both = both.each_ref().map(String::as_str);
        assert_eq!(load(&[service::ORCHESTRATOR], &both), Ok(()));
        assert_eq!(
            load(&[service::ORCHESTRATOR, service::SESSION], &[]).map_err(|it| it.lines().count()),
            Err(4)
        );
    }

    #[test]
    fn the_registry_knows_services_and_where_they_answer() {
        for wrong in [
            "registry.services.flare-sessions=[\"http://127.0.0.1:7301\"]",
            "registry.services.flare-session=[]",
            "registry.services.flare-session=[\"127.0.0.1:7301\"]",
        ] {
            let refused = load(&ALL, &[wrong]).expect_err(wrong);
            assert!(
                refused.contains("registry.services.flare-session"),
                "{refused}"
            );
        }
    }
}
