//! End-to-end scenarios: the real binary, real clients, and a judge that decides from their histories whether the promises were kept.
//!
//! `cargo test --test integration` runs them all; `-- embedded::two_devices_chat` runs one, `-- --help` shows what else there is.

mod arguments;
mod authority;
mod cable;
mod clock;
mod collector;
mod crew;
mod deployment;
mod disk;
mod environment;
mod etcd;
mod infra;
mod judge;
mod kafka;
mod network;
mod person;
mod process;
mod raw;
mod recorder;
mod redis;
mod scenarios;
mod scene;
mod toxiproxy;
mod tunnel;
mod view;
mod worker;

use std::{path::Path, process::ExitCode, sync::Arc};

use libtest_mimic::{Failed, Trial};
use tokio::sync::RwLock;

use crate::{
    arguments::Arguments,
    clock::Clock,
    deployment::Kind,
    scenarios::{SCENARIOS, Scenario},
    scene::Scene,
};

/// Who plays: many beside each other, or one alone.
static TURNS: RwLock<()> = RwLock::const_new(());
const TOOLS: &str = "FLARE_SCENARIO_TOOLS";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(worker::WORD) {
        return worker::main(words);
    }
    let arguments = match Arguments::parse(std::env::args()) {
        Ok(arguments) => Arc::new(arguments),
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    process::choose(arguments.binary.as_deref());
    let campaign = arguments.campaign;
    let nodes = environment::named("FLARE_TEST_KAFKA").map_or(0, |it| it.split(',').count());
    let trials = Kind::ALL
        .into_iter()
        .filter(|kind| match arguments.deployment {
            Some(asked) => asked == *kind,
            None => Kind::SELF_CONTAINED.contains(kind),
        })
        .flat_map(|kind| {
            SCENARIOS
                .iter()
                .filter(move |it| it.kinds.contains(&kind))
                .filter(move |it| campaign || (!it.is_long && it.needs.kafka_nodes <= nodes))
                .map(move |it| (kind, it))
        })
        .map(|(kind, scenario)| {
            let arguments = Arc::clone(&arguments);
            Trial::test(format!("{kind}::{}", scenario.name), move || {
                run(kind, scenario, &arguments)
            })
        })
        .collect();
    libtest_mimic::run(&arguments.harness, trials).exit_code()
}

fn run(kind: Kind, scenario: &'static Scenario, arguments: &Arguments) -> Result<(), Failed> {
    if scenario.needs.clock && !Clock::can_be_set() && !are_tools_demanded() {
        eprintln!(
            "{kind}::{} is not played: libfaketime is not installed",
            scenario.name
        );
        return Ok(());
    }
    let folder = tempfile::Builder::new()
        .prefix(&format!(
            "flare-{kind}-{}-",
            scenario.name.replace("::", "-")
        ))
        .tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let played = runtime.block_on(async {
        // A fault of a server is one of everybody who stands on it.
        let _alone = match scenario.alone {
            true => (Some(TURNS.write().await), None),
            false => (None, Some(TURNS.read().await)),
        };
        let scene = Scene::set(kind, folder.path(), scenario.needs).await?;
        tokio::time::timeout(scenario.within, (scenario.play)(scene, arguments))
            .await
            .map_err(anyhow::Error::from)?
    });
    // Whatever a failure left running goes with its processes.
    runtime.shutdown_background();
    let Err(error) = played else {
        if arguments.keep_data {
            let kept = folder.keep();
            eprintln!(
                "{kind}::{}: data, logs and histories are in {}",
                scenario.name,
                kept.display()
            );
        }
        return Ok(());
    };
    let kept = folder.keep();
    Err(Failed::from(format!(
        "{error:#}\n\ndata, logs and histories are in {}\n{}",
        kept.display(),
        logs(&kept)
    )))
}

/// Whether nothing may be passed over for want of a tool, as in `.ci/run`.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's switch is no setting of the server"
)]
fn are_tools_demanded() -> bool {
    std::env::var_os(TOOLS).is_some()
}

/// The last lines of each process's log.
fn logs(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder.join("logs")) else {
        return String::new();
    };
    entries
        .flatten()
        .map(|entry| {
            format!(
                "--- {}\n{}\n",
                entry.file_name().to_string_lossy(),
                process::tail(&entry.path())
            )
        })
        .collect()
}
