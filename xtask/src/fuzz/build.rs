//! Building the targets: libFuzzer wants coverage, and coverage wants nightly.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail, ensure};
use cargo_metadata::{MetadataCommand, TargetKind};

/// Where the workspace of the targets stands.
const FOLDER: &str = "fuzz";
const TOOLCHAIN: &str = "nightly";

/// What libFuzzer learns by: edges that were taken, and values that were compared.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Targets that are built.
pub(super) struct Built {
    /// Of the binaries.
    pub(super) binaries: PathBuf,
    /// Of corpora and of what was found.
    pub(super) folder: PathBuf,
}

/// The targets' names.
pub(super) fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join(FOLDER).join("Cargo.toml"))
        .no_deps()
        .exec()?;
    let targets = metadata.packages.iter().flat_map(|it| &it.targets);
    Ok(targets
        .filter(|it| it.kind.contains(&TargetKind::Bin))
        .map(|it| it.name.clone())
        .collect())
}

/// Builds all targets.
pub(super) fn build(root: &Path) -> anyhow::Result<Built> {
    let host = host()?;
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
    let folder = metadata.target_directory.into_std_path_buf().join(FOLDER);
    let status = Command::new("rustup")
        .args(["run", TOOLCHAIN, "cargo", "build", "--release", "--bins"])
        // With a target named, build scripts and macros are not built for coverage.
        .args(["--target", &host, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE)
        .current_dir(root.join(FOLDER))
        .status()
        .context("rustup")?;
    ensure!(status.success(), "the targets are not built: {status}");
    Ok(Built {
        binaries: folder.join(host).join("release"),
        folder,
    })
}

/// The machine as the nightly compiler calls it.
fn host() -> anyhow::Result<String> {
    let asked = Command::new("rustup")
        .args(["run", TOOLCHAIN, "rustc", "-vV"])
        .output();
    let said = match asked {
        Ok(said) if said.status.success() => said.stdout,
        _ => bail!(
            "fuzzing needs a nightly compiler: `rustup toolchain install {TOOLCHAIN} --profile minimal`"
        ),
    };
    let said = String::from_utf8(said)?;
    let host = said.lines().find_map(|it| it.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
