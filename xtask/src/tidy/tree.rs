//! The files and crates that the rules look at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, MetadataCommand, TargetKind};

/// Files that break rules on purpose.
const FIXTURES: &str = "xtask/fixtures/";

/// A repository, or a fixture that stands for one. Paths are relative to its root, with `/`.
pub(super) struct Tree {
    root: PathBuf,
    files: BTreeSet<String>,
    crates: Vec<Crate>,
}

/// A member of the workspace.
pub(super) struct Crate {
    pub(super) name: String,
    /// Its folder.
    pub(super) dir: String,
    /// The file its documentation stands in: the library's root, or the first binary's.
    pub(super) root_file: String,
    /// The files that its library, binaries, tests and the rest begin with.
    pub(super) targets: Vec<String>,
    /// Its dependencies on other members.
    pub(super) dependencies: Vec<Dependency>,
}

/// An edge between two members.
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: DependencyKind,
}

impl Crate {
    pub(super) fn manifest(&self) -> String {
        join(&self.dir, "Cargo.toml")
    }
}

impl Tree {
    /// The repository this program was built from, as git sees it: tracked files, and those it would track.
    pub(super) fn of_repository() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in the repository's root")?;
        let output = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("running git ls-files")?;
        if !output.status.success() {
            bail!(
                "git ls-files: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let listed = String::from_utf8(output.stdout).context("a file name that is not UTF-8")?;
        // The index still names a file that was deleted without telling git.
        let files = listed
            .split_terminator('\0')
            .filter(|file| !file.starts_with(FIXTURES) && root.join(file).is_file())
            .map(str::to_owned)
            .collect();
        Self::at(root.to_owned(), files)
    }

    #[cfg(test)]
    pub(super) fn of_fixture(rule: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(rule);
        let files = walkdir::WalkDir::new(&root)
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| relative(&root, entry.path()).unwrap())
            .collect();
        Self::at(root, files).unwrap()
    }

    fn at(root: PathBuf, files: BTreeSet<String>) -> anyhow::Result<Self> {
        let crates = if files.contains("Cargo.toml") {
            crates(&root)?
        } else {
            Vec::new()
        };
        Ok(Self {
            root,
            files,
            crates,
        })
    }

    pub(super) fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    /// The files whose name ends in one of `extensions`, given without the dot.
    pub(super) fn files_of_kind(&self, extensions: &[&str]) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str).filter(|file| {
            Path::new(file)
                .extension()
                .and_then(|it| it.to_str())
                .is_some_and(|it| extensions.contains(&it))
        })
    }

    /// The workspace's members, by folder; none where there is no workspace.
    pub(super) fn crates(&self) -> &[Crate] {
        &self.crates
    }

    /// Whether a file, or a folder with at least one, stands there.
    pub(super) fn contains(&self, path: &str) -> bool {
        let folder = join(path, "");
        path.is_empty()
            || self.files.contains(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|it| it.starts_with(&folder))
    }

    /// A file's text; `None` if it is not text.
    pub(super) fn text(&self, file: &str) -> anyhow::Result<Option<String>> {
        let bytes = fs::read(self.root.join(file)).with_context(|| format!("reading {file}"))?;
        if bytes.contains(&0) {
            return Ok(None);
        }
        Ok(String::from_utf8(bytes).ok())
    }
}

fn crates(root: &Path) -> anyhow::Result<Vec<Crate>> {
    // Links in the path to the repository would keep cargo's absolute paths from beginning with it.
    let root = root.canonicalize()?;
    let metadata = MetadataCommand::new()
        .current_dir(&root)
        .no_deps()
        .exec()
        .context("running cargo metadata")?;
    let members = metadata.workspace_packages();
    let mut crates = Vec::new();
    for package in &members {
        let manifest = package.manifest_path.canonicalize()?;
        let root_file = package
            .targets
            .iter()
            .find(|target| target.kind.contains(&TargetKind::Lib))
            .or_else(|| {
                package
                    .targets
                    .iter()
                    .find(|target| target.kind.contains(&TargetKind::Bin))
            })
            .with_context(|| format!("{} has neither library nor binary", package.name))?;
        crates.push(Crate {
            name: package.name.to_string(),
            dir: relative(
                &root,
                manifest.parent().context("a manifest stands in a folder")?,
            )?,
            root_file: relative(&root, &root_file.src_path.canonicalize()?)?,
            targets: package
                .targets
                .iter()
                .map(|target| relative(&root, &target.src_path.canonicalize()?))
                .collect::<anyhow::Result<_>>()?,
            dependencies: package
                .dependencies
                .iter()
                .filter(|dependency| members.iter().any(|member| *member.name == dependency.name))
                .map(|dependency| Dependency {
                    name: dependency.name.clone(),
                    kind: dependency.kind,
                })
                .collect(),
        });
    }
    crates.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(crates)
}

/// `name` inside the folder `dir`, where the root is the empty string.
pub(super) fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

/// Where the relative `path` leads from the folder `dir`; `None` above the root.
pub(super) fn resolve(dir: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = dir.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The folder that `file` stands in.
pub(super) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn relative(root: &Path, path: &Path) -> anyhow::Result<String> {
    let path = path
        .strip_prefix(root)
        .with_context(|| format!("{} is not inside {}", path.display(), root.display()))?;
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| part.as_os_str().to_str())
        .collect();
    Ok(parts
        .with_context(|| format!("{} is not UTF-8", path.display()))?
        .join("/"))
}
