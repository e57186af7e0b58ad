//! `simulate`: lives of the owner by seeds.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;
use flare_simulation::{Campaign, Life};
use serde_json::{Map, Value, json};

/// Lives of the partition's owner by seeds, with everything that can go wrong, judged by the history checker.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many seeds, for each number of owners.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// This seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Processes that may believe to own the partition; several numbers: each in turn.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    owners: Vec<usize>,
    /// How many live at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Keep what bit how often in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    json: Option<PathBuf>,
    /// Print what happens in the life of `--seed`.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut code = ExitCode::SUCCESS;
    let mut campaigns = Vec::new();
    for owners in arguments.owners {
        let failure = match arguments.seed {
            Some(seed) => {
                let (outcome, trace) = Life { seed, owners }.traced();
                if arguments.trace {
                    trace.iter().for_each(|line| println!("{line}"));
                }
                outcome.err()
            }
            None => {
                let campaign = Campaign {
                    from: arguments.from,
                    seeds: arguments.seeds,
                    owners,
                    threads: arguments.threads,
                };
                let report = campaign.run(|done| {
                    if done.is_multiple_of(1_000) {
                        eprintln!("{done} of {} with {owners} owners", arguments.seeds);
                    }
                });
                println!("{} lives with {owners} owners", report.lives);
                for (name, count) in report.bites.each() {
                    println!("  {name:20} {count}");
                }
                let mut kept = Map::from_iter([
                    ("owners".to_owned(), json!(owners)),
                    ("lives".to_owned(), json!(report.lives)),
                ]);
                let bites = report.bites.each().into_iter();
                kept.extend(bites.map(|(name, count)| (name.to_owned(), json!(count))));
                campaigns.push(Value::Object(kept));
                report.failure
            }
        };
        if let Some(failure) = failure {
            eprintln!("{failure}");
            code = ExitCode::FAILURE;
        }
    }
    if let Some(file) = arguments.json
        && let Err(error) = fs::write(&file, format!("{:#}\n", Value::Array(campaigns)))
    {
        eprintln!("{}: {error}", file.display());
        code = ExitCode::FAILURE;
    }
    code
}
