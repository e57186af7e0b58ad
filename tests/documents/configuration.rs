//! doc/configuration.md, doc/limits.md and the samples in config/.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Context, ensure};
use flare_im::{
    limits::{self, Sign},
    reference,
};
use flare_server_core::registry::service;
use tempfile::TempDir;

use crate::{
    markdown,
    server::{Server, flare},
};

/// The environment that makes a process one of a cluster.
const CLUSTER: &str = "cluster";

/// The page is made, never written.
pub(crate) fn the_page_is_what_the_command_prints() -> anyhow::Result<()> {
    same("doc/configuration.md", &reference::page(), "reference")
}

/// Likewise.
pub(crate) fn the_limits_are_what_the_command_prints() -> anyhow::Result<()> {
    same("doc/limits.md", &limits::page(), "limits")
}

fn same(document: &str, made: &str, command: &str) -> anyhow::Result<()> {
    let printed = flare(&markdown::root())
        .args(["config", command])
        .output()?;
    ensure!(
        String::from_utf8(printed.stdout)? == made,
        "flare config {command} prints something else"
    );
    ensure!(
        markdown::read(document)? == made,
        "{document} is stale: cargo run -p flare-im -- config {command} > {document}"
    );
    Ok(())
}

/// A metric that a limit names is set somewhere.
pub(crate) fn every_metric_is_one_that_is_set() -> anyhow::Result<()> {
    let mut sources = String::new();
    for entry in std::fs::read_dir(markdown::root())? {
        let folder = entry?.path();
        let is_crate = folder
            .file_name()
            .and_then(|it| it.to_str())
            .is_some_and(|it| it.starts_with("flare-") && it != "flare-im");
        if is_crate {
            collect(&folder, &mut sources)?;
        }
    }
    let signs = limits::GROUPS
        .iter()
        .flat_map(|it| it.limits)
        .flat_map(|it| it.signs);
    for sign in signs {
        let Sign::Metric(metric) = sign else { continue };
        let name = metric.split('{').next().unwrap_or_default();
        ensure!(
            sources.contains(&format!("{name:?}")),
            "{name} is set nowhere"
        );
    }
    Ok(())
}

fn collect(folder: &Path, sources: &mut String) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The samples are taken as they are, alone and with each environment; those of a cluster where its adapters are built in.
pub(crate) fn samples_load_with_every_environment() -> anyhow::Result<()> {
    let folder = markdown::root().join("config");
    check(&folder, None)?;
    let environments = files(&folder.join("environments"))?;
    ensure!(!environments.is_empty(), "there is no environment");
    for file in environments {
        let name = file
            .file_stem()
            .and_then(|it| it.to_str())
            .context("a name")?
            .to_owned();
        if name == CLUSTER {
            continue;
        }
        check(&folder, Some(&name))?;
    }
    cluster_is_named_by_the_samples(&folder)
}

/// The environment of a cluster asks for what the base shows in comments, and for nothing else but the secret.
fn cluster_is_named_by_the_samples(folder: &Path) -> anyhow::Result<()> {
    let checked = ask(folder, Some(CLUSTER))?;
    let said = String::from_utf8_lossy(&checked.stderr);
    ensure!(!checked.status.success(), "no server is named");
    // Unless a crate that is built beside it brings the adapters along.
    if cfg!(not(feature = "cluster")) && said.contains("feature `cluster`") {
        return Ok(());
    }
    for wanted in [
        "kafka.bootstrap_servers: is missing",
        "postgres.url: is missing",
        "redis.url: is missing",
        "etcd.endpoints: is missing",
    ] {
        ensure!(said.contains(wanted), "{wanted} is not said: {said}");
    }
    let open = uncommented(folder)?;
    let environments = open.path().join("environments");
    std::fs::create_dir(&environments)?;
    let file = format!("{CLUSTER}.toml");
    std::fs::copy(
        folder.join("environments").join(&file),
        environments.join(&file),
    )?;
    check(open.path(), Some(CLUSTER))
}

/// Each service has a file, which says nothing of another's.
pub(crate) fn every_service_has_a_sample_of_its_own() -> anyhow::Result<()> {
    let folder = markdown::root().join("config");
    let found: Vec<_> = files(&folder.join("services"))?
        .iter()
        .filter_map(|it| it.file_stem().and_then(|it| it.to_str()).map(str::to_owned))
        .collect();
    let mut services: Vec<_> = service::ALL.iter().map(|it| it.name).collect();
    services.sort_unstable();
    ensure!(found == services, "{found:?} instead of {services:?}");
    let open = uncommented(&folder)?;
    for known in service::ALL {
        let file = open.path().join(format!("services/{}.toml", known.name));
        let sections: toml::Table = toml::from_str(&std::fs::read_to_string(&file)?)?;
        ensure!(
            sections.contains_key(known.section),
            "{} shows nothing of {}",
            known.name,
            known.section
        );
        let foreign = sections
            .keys()
            .find(|it| *it != known.section && *it != "peer");
        ensure!(foreign.is_none(), "{}: {foreign:?}", known.name);
    }
    Ok(())
}

/// Above files and arguments: whoever says it on the command line means it.
pub(crate) fn listen_stands_above_all() -> anyhow::Result<()> {
    const ELSEWHERE: &str = "0.0.0.0";
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("base.toml"),
        format!(
            "[process]\nops_listen = \"{ELSEWHERE}:0\"\n[core_gateway]\nlisten = \"{ELSEWHERE}:0\"\n"
        ),
    )?;
    let config = folder.path().to_str().context("UTF-8")?;
    let set = format!("access_gateway.listen={ELSEWHERE}:0");
    let told = ["--config", config, "--set", &set];
    let named = Server::start_with(&[&told[..], &["--listen", "127.0.0.1:0"]].concat())?;
    for address in named.addresses() {
        ensure!(
            address.starts_with("127.0.0.1:"),
            "--listen 127.0.0.1:0 does not count: {address}"
        );
    }
    let silent = Server::start_with(&told)?;
    for address in silent.addresses() {
        ensure!(
            address.starts_with(ELSEWHERE),
            "without --listen the configuration does not count: {address}"
        );
    }
    Ok(())
}

/// What a sample shows in a comment may be taken out of it.
pub(crate) fn commented_keys_are_keys() -> anyhow::Result<()> {
    check(uncommented(&markdown::root().join("config"))?.path(), None)
}

/// The base and the services' files with all that they show in comments taken out of them.
fn uncommented(samples: &Path) -> anyhow::Result<TempDir> {
    let open = tempfile::tempdir()?;
    std::fs::create_dir(open.path().join("services"))?;
    for file in files(samples)?
        .into_iter()
        .chain(files(&samples.join("services"))?)
    {
        let mut shown = 0;
        let text = std::fs::read_to_string(&file)?;
        let uncommented: Vec<&str> = text
            .lines()
            .map(|line| setting(line).inspect(|_| shown += 1).unwrap_or(line))
            .collect();
        ensure!(shown > 2, "{}: only {shown} keys", file.display());
        std::fs::write(
            open.path().join(file.strip_prefix(samples)?),
            uncommented.join("\n"),
        )?;
    }
    Ok(open)
}

/// The setting or table that a comment holds.
fn setting(line: &str) -> Option<&str> {
    let inside = line.strip_prefix("# ")?;
    let is_table = inside.starts_with('[') && inside.ends_with(']');
    let key = inside
        .split(" = ")
        .next()
        .filter(|it| it.len() < inside.len());
    let is_key = key.is_some_and(|it| {
        it.bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-.".contains(&it))
    });
    (is_table || is_key).then_some(inside)
}

fn check(folder: &Path, environment: Option<&str>) -> anyhow::Result<()> {
    let checked = ask(folder, environment)?;
    ensure!(
        checked.status.success(),
        "{environment:?}: {}",
        String::from_utf8_lossy(&checked.stderr)
    );
    Ok(())
}

/// Lets the configuration be checked for a process with every role; the secret stands in no file.
fn ask(folder: &Path, environment: Option<&str>) -> anyhow::Result<Output> {
    let mut command = flare(&markdown::root());
    command.args(["config", "check", "--config"]).arg(folder);
    command.args(environment.into_iter().flat_map(|it| ["--environment", it]));
    command.env("FLARE__PEER__SECRET", "0123456789abcdef0123456789abcdef");
    Ok(command.output()?)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
