//! What comes before a process starts: its configuration, telemetry and folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{BaseConfig, ConfigArgs, Configured, needs};
use crate::{
    config::{ConfigLoader, ConfigMistakes, Loaded, Section},
    registry::service,
    telemetry::{self, ProcessInfo, Telemetry, TelemetryError},
};

/// The folder of the configuration files, if none is named.
const CONFIG_FOLDER: &str = "config";

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
    loader.load_checked(|config: &Configured<S>, origin| {
        needs::mistakes(&config.base, services, origin)
    })
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
