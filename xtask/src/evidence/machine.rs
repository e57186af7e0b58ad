//! From which commit, and on what machine.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The conditions of a figure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) commit: String,
    /// The tree has what the commit has not.
    pub(super) changed: bool,
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
}

impl Machine {
    pub(super) fn look(root: &Path) -> anyhow::Result<Self> {
        let commit = output(root, "git", &["rev-parse", "--short=12", "HEAD"])?;
        // The page itself is what this makes.
        let status = output(
            root,
            "git",
            &[
                "status",
                "--porcelain",
                "--",
                ".",
                ":!doc/reliability.md",
                ":!doc/images",
            ],
        )?;
        let of = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|it| it.starts_with(name));
            let value = line.and_then(|it| it.split_once(':'));
            value
                .map(|(_, it)| it.trim().to_owned())
                .unwrap_or_default()
        };
        let memory_kib = of("/proc/meminfo", "MemTotal");
        let memory_kib = memory_kib
            .split(' ')
            .next()
            .and_then(|it| it.parse::<u64>().ok());
        Ok(Self {
            commit,
            changed: !status.is_empty(),
            processor: of("/proc/cpuinfo", "model name"),
            cores: thread::available_parallelism()?.get(),
            memory_gib: memory_kib.unwrap_or_default().div_ceil(1 << 20),
            kernel: output(root, "uname", &["-sr"])?,
        })
    }
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .with_context(|| program.to_owned())?;
    ensure!(
        done.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}
