//! A server on a damaged data folder has all that it acknowledged, or refuses to start and names the file.
//!
//! `cargo test -p flare-im --test damage` damages every file of a folder in every way, after a clean stop and after SIGKILL;
//! `-- killed::flipped` in one way. `-- --seeds 20` flips twenty bits of each file instead of one, and cuts it in as many places;
//! `-- --table` prints what became of each case, `-- --binary FILE` asks another server.

#[path = "../data/api.rs"]
mod api;
mod fault;
mod folder;
mod judge;
#[path = "../data/observation.rs"]
mod observation;
#[path = "../data/server.rs"]
mod server;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::{
    fault::Way,
    folder::{Stop, Story},
    judge::Tally,
};

/// The smallest segments that there are; and read positions are written at once, as a kill may cost those that gather.
const SETTINGS: [&str; 2] = [
    "log.segment_bytes=4194304",
    "session.position_interval_ms=0",
];

/// The arguments that libtest does not know.
struct Settings {
    binary: PathBuf,
    /// How many bits of each file are flipped, and in how many places it is cut.
    seeds: u64,
    is_table_wanted: bool,
}

fn main() -> ExitCode {
    let (settings, rest) = match settings(std::env::args().collect()) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    let settings = Arc::new(settings);
    let stories: Arc<OnceLock<Result<Vec<Story>, String>>> = Arc::default();
    let mut trials = Vec::new();
    for stop in Stop::ALL {
        for way in Way::ALL {
            let (settings, stories) = (Arc::clone(&settings), Arc::clone(&stories));
            let name = format!("{}::{}", stop.name(), way.name());
            trials.push(Trial::test(name, move || {
                let told = stories.get_or_init(|| {
                    let all = Stop::ALL.into_iter();
                    all.map(|it| run(Story::tell(it, &settings.binary)))
                        .collect::<anyhow::Result<_>>()
                        .map_err(|error| format!("{error:#}"))
                });
                let told = told.as_ref().map_err(Failed::from)?;
                let story = told.iter().find(|it| it.stop == stop);
                let story = story.ok_or_else(|| Failed::from("no story ends so"))?;
                run(attack(story, way, &settings))
                    .map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_iter(rest), trials).exit_code()
}

fn settings(words: Vec<String>) -> anyhow::Result<(Settings, Vec<String>)> {
    let mut settings = Settings {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_flare")),
        seeds: 1,
        is_table_wanted: false,
    };
    let mut rest = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => {
                settings.seeds = words.next().context("--seeds wants a number")?.parse()?
            }
            "--binary" => {
                let file = words.next().context("--binary wants a file")?;
                settings.binary = PathBuf::from(file).canonicalize()?;
            }
            "--table" => settings.is_table_wanted = true,
            _ => rest.push(word),
        }
    }
    Ok((settings, rest))
}

/// Damages each file of the folder in this way, one at a time, and judges each start.
async fn attack(story: &Story, way: Way, settings: &Settings) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    for case in fault::cases(story, way, settings.seeds)? {
        let copy = story.copy()?;
        case.apply(&copy.data, &story.older)?;
        let outcome = judge::start(&copy.data, &case.file, story, &settings.binary).await;
        if settings.is_table_wanted {
            println!("{}  {case}  {outcome}", story.stop.name());
        }
        if outcome.is_silent() {
            eprintln!("{}  {case}  {outcome}", story.stop.name());
        }
        tally.count(&outcome);
    }
    println!("{}  {}  {tally}", story.stop.name(), way.name());
    tally.verdict(way)
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
