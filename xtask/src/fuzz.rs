//! `cargo xtask fuzz`: every decoder under libFuzzer.

mod build;
mod run;

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, ensure};
use serde::Serialize;

use self::run::Outcome;

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Fuzz this target only; may be given more than once
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Targets that run at once
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    at_once: u8,
    /// Write what was found as JSON into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the targets' names and end
    #[arg(long)]
    list: bool,
}

/// What all targets have found.
#[derive(Serialize)]
struct Report {
    seconds_each: u64,
    executions: u64,
    crashes: usize,
    targets: Vec<Outcome>,
}

/// Builds the targets, runs them and says what they have found. Fails if one was broken, or has run nothing.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let root = crate::root()?;
    let known = build::targets(&root)?;
    if arguments.list {
        println!("{}", known.join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.target {
        ensure!(
            known.contains(name),
            "there is no target {name:?}: --list names them"
        );
    }
    let wanted: VecDeque<String> = known
        .into_iter()
        .filter(|it| arguments.target.is_empty() || arguments.target.contains(it))
        .collect();
    let built = build::build(&root)?;
    let count = wanted.len();
    let waiting = Mutex::new(wanted);
    let done = Mutex::new(Vec::new());
    let lane = || -> anyhow::Result<()> {
        loop {
            let next = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(name) = next else { return Ok(()) };
            let outcome = run::run(&built, &name, arguments.seconds)?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("{} of {count}: {outcome}", done.len() + 1);
            done.push(outcome);
        }
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..arguments.at_once).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|it| {
            it.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let mut targets = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    finish(arguments, targets)
}

fn finish(arguments: &Arguments, targets: Vec<Outcome>) -> anyhow::Result<ExitCode> {
    let report = Report {
        seconds_each: arguments.seconds,
        executions: targets.iter().map(|it| it.executions).sum(),
        crashes: targets.iter().filter(|it| it.crash).count(),
        targets,
    };
    if let Some(file) = &arguments.json {
        let text = serde_json::to_vec_pretty(&report)?;
        fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    let bad: Vec<&Outcome> = report.targets.iter().filter(|it| !it.is_good()).collect();
    println!(
        "{} targets, {} executions: {}",
        report.targets.len(),
        report.executions,
        if bad.is_empty() {
            "no decoder was broken"
        } else {
            "FAILED"
        }
    );
    for outcome in &bad {
        println!("{outcome}");
        if !outcome.replay.is_empty() {
            println!("  again: {}", outcome.replay);
        }
    }
    Ok(if bad.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
