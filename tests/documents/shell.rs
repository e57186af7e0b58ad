//! Runs a document's blocks as one script, so that a later block has what an earlier one set.

use std::{
    ffi::OsString,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{markdown::Block, server};

/// A script that is not done by then hangs.
const DONE_WITHIN: Duration = Duration::from_secs(120);

/// What scripts run beside: the folder that they stand in, and what tells them where the server is.
pub(crate) struct Ground<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// Runs `blocks`, and gives what each printed.
pub(crate) fn run(ground: &Ground<'_>, blocks: &[&Block]) -> anyhow::Result<Vec<String>> {
    let out = tempfile::tempdir()?;
    let mut script = String::from("set -euo pipefail\ntrap 'echo \"failed: $PLACE\" >&2' ERR\n");
    for (index, block) in blocks.iter().enumerate() {
        script.push_str(&format!(
            "PLACE={}\nexec >{:?}\n{}",
            block.place,
            out.path().join(index.to_string()),
            block.text
        ));
    }
    let errors = out.path().join("errors");
    let mut command = Command::new("bash");
    server::clean(&mut command);
    command
        .args(["-c", &script])
        .current_dir(ground.folder)
        .envs(ground.variables.iter().cloned())
        .env("PATH", path()?)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&errors)?);
    let ended = wait(command.spawn().context("bash")?);
    let said = std::fs::read_to_string(&errors)?;
    let status = ended.with_context(|| said.clone())?;
    if !status.success() {
        let printed = blocks
            .iter()
            .enumerate()
            .map(|(index, _)| std::fs::read_to_string(out.path().join(index.to_string())));
        let last = printed.flatten().last().unwrap_or_default();
        bail!("{status}\n{said}\n{last}");
    }
    let printed =
        (0..blocks.len()).map(|index| std::fs::read_to_string(out.path().join(index.to_string())));
    Ok(printed.collect::<Result<_, _>>()?)
}

fn wait(mut child: Child) -> anyhow::Result<std::process::ExitStatus> {
    let deadline = Instant::now() + DONE_WITHIN;
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    let id = child.id();
    let waiter = std::thread::spawn(move || {
        let status = child.wait();
        // Nobody waits any more: it took too long.
        let _ = done.send(status);
    });
    let status = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    if status.is_err() {
        Command::new("kill")
            .args(["-9", &id.to_string()])
            .status()?;
        let _ = waiter.join();
        bail!("the examples were not done within {DONE_WITHIN:?}");
    }
    Ok(status??)
}

/// The command under test comes first.
#[expect(
    clippy::disallowed_methods,
    reason = "examples run with the tools of whoever runs the test"
)]
fn path() -> anyhow::Result<OsString> {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(server::binary_folder()).chain(std::env::split_paths(&others));
    Ok(std::env::join_paths(
        folders.filter(|it| it != Path::new("")),
    )?)
}
