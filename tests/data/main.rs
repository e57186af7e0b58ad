//! Every version opens the data folder of every earlier one, and refuses that of a later one.
//!
//! `cargo test -p flare-im --test data` checks all of them; `-- --write tests/data/v2` makes the folder of this version.

mod api;
mod archive;
mod later;
mod observation;
mod opening;
mod server;
mod story;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

/// Where the folders of all versions are.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data");
const WRITE: &str = "--write";
/// The server of this version.
const BINARY: &str = env!("CARGO_BIN_EXE_flare");

type Check = fn(&Path) -> Checking<'_>;
type Checking<'a> = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    if let Some(at) = words.iter().position(|it| it == WRITE) {
        let folder = words.get(at + 1).map(PathBuf::from);
        let written = folder
            .context("--write wants a folder")
            .and_then(|folder| run(story::write(&folder)));
        return match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    match trials() {
        Ok(trials) => libtest_mimic::run(&Arguments::from_iter(words), trials).exit_code(),
        Err(error) => {
            eprintln!("{HERE}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each check with the folder of each version.
fn trials() -> anyhow::Result<Vec<Trial>> {
    const CHECKS: [(&str, Check); 3] = [
        ("opens_and_goes_on", |folder| {
            Box::pin(opening::goes_on(folder))
        }),
        ("a_later_log_is_refused", |folder| {
            Box::pin(later::log(folder))
        }),
        ("later_tables_are_refused", |folder| {
            Box::pin(later::tables(folder))
        }),
    ];
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(HERE)? {
        let folder = entry?.path();
        if !folder.join(archive::NAME).is_file() {
            continue;
        }
        let version = folder
            .file_name()
            .map(|it| it.to_string_lossy().into_owned())
            .unwrap_or_default();
        for (name, check) in CHECKS {
            let folder = folder.clone();
            trials.push(Trial::test(format!("{version}::{name}"), move || {
                run(check(&folder)).map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    anyhow::ensure!(!trials.is_empty(), "there is no data folder of any version");
    Ok(trials)
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
