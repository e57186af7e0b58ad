//! doc/configuration.md, doc/limits.md and the samples in config/.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use flare_im::{
    limits::{self, Sign},
    reference,
};

use crate::{
    markdown,
    server::{Server, flare},
};

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

/// The samples are taken as they are, alone and with each environment.
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
        check(&folder, Some(&name))?;
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
    let samples = markdown::root().join("config");
    let open = tempfile::tempdir()?;
    std::fs::create_dir(open.path().join("services"))?;
    let mut shown = 0;
    for file in files(&samples)?
        .into_iter()
        .chain(files(&samples.join("services"))?)
    {
        let text = std::fs::read_to_string(&file)?;
        let uncommented: Vec<&str> = text
            .lines()
            .map(|line| setting(line).inspect(|_| shown += 1).unwrap_or(line))
            .collect();
        std::fs::write(
            open.path().join(file.strip_prefix(&samples)?),
            uncommented.join("\n"),
        )?;
    }
    ensure!(shown > 20, "only {shown} keys are shown");
    check(open.path(), None)
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
    let mut command = flare(&markdown::root());
    command.args(["config", "check", "--config"]).arg(folder);
    command.args(environment.into_iter().flat_map(|it| ["--environment", it]));
    let checked = command.output()?;
    ensure!(
        checked.status.success(),
        "{environment:?}: {}",
        String::from_utf8_lossy(&checked.stderr)
    );
    Ok(())
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
