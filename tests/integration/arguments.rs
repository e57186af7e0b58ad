//! The command line: a few words of our own, the rest is libtest's.

use std::{fs::OpenOptions, io::Write, path::PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::deployment::Kind;

const OWN_HELP: &str = "\
Beside the options below, these end-to-end scenarios take:
    --deployment KIND   Only scenarios against this deployment: embedded, split or cluster; the first two if
                        not given. A cluster needs the feature server-tests, the servers of `cargo xtask infra
                        up` and the binaries of `cargo build --workspace --bins`
    --cycles N          How often the kill loop kills the server; 25 if not given
    --clients N         How many come back at once, or are online in the large group; 200 if not given
    --members N         How many the large group has; 20000 if not given
    --minutes N         How long the soak lasts; half a minute if not given
    --binary PATH       The flare to run, such as a release build; the one built with the tests if not given
    --campaign          Also the faults of a cluster that take long
    --json FILE         Where the kill loop or the soak puts what it saw; the faults add a line each
    --keep-data         Keep data, logs and histories also of what succeeds, and say where
";
const DEFAULT_CYCLES: u32 = 25;
const DEFAULT_CLIENTS: usize = 200;
const DEFAULT_MEMBERS: usize = 20_000;
/// Two servers with their clients keep two cores busy.
const DEFAULT_THREADS: usize = 2;
/// One cluster does so by itself.
const CLUSTER_THREADS: usize = 1;

/// What was asked for.
pub(crate) struct Arguments {
    pub(crate) deployment: Option<Kind>,
    pub(crate) cycles: u32,
    /// How many come back at once, or are online.
    pub(crate) clients: usize,
    /// How many the large group has.
    pub(crate) members: usize,
    /// How long the soak lasts.
    pub(crate) minutes: Option<u32>,
    /// The binary under test.
    pub(crate) binary: Option<PathBuf>,
    /// Also what takes long.
    pub(crate) campaign: bool,
    /// Where a scenario puts what it saw.
    json: Option<PathBuf>,
    pub(crate) keep_data: bool,
    pub(crate) harness: libtest_mimic::Arguments,
}

impl Arguments {
    /// Reads the command line, the program's name first. For a mistake in our own words it says what is wrong; of libtest's it ends the process.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut deployment, mut cycles) = (None, DEFAULT_CYCLES);
        let (mut campaign, mut keep_data) = (false, false);
        let (mut clients, mut members) = (DEFAULT_CLIENTS, DEFAULT_MEMBERS);
        let (mut minutes, mut binary, mut json) = (None, None, None);
        let mut rest = Vec::new();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let (name, mut value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.clone(), None),
            };
            let mut value = || {
                value
                    .take()
                    .or_else(|| words.next())
                    .ok_or_else(|| format!("{name} wants a value"))
            };
            match name.as_str() {
                "--deployment" => deployment = Some(value()?.parse()?),
                "--cycles" => {
                    let text = value()?;
                    cycles = text
                        .parse()
                        .map_err(|_| format!("--cycles wants a number, not {text:?}"))?;
                }
                "--clients" => {
                    let text = value()?;
                    clients = text
                        .parse()
                        .map_err(|_| format!("--clients wants a number, not {text:?}"))?;
                }
                "--members" => {
                    let text = value()?;
                    members = text
                        .parse()
                        .map_err(|_| format!("--members wants a number, not {text:?}"))?;
                }
                "--minutes" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|it| *it > 0);
                    minutes =
                        Some(number.ok_or_else(|| {
                            format!("--minutes wants a number from 1, not {text:?}")
                        })?);
                }
                // Scenarios run elsewhere.
                "--binary" => binary = Some(absolute(&value()?)?),
                "--json" => json = Some(absolute(&value()?)?),
                "--campaign" => campaign = true,
                "--keep-data" => keep_data = true,
                _ => rest.push(word),
            }
        }
        if rest.iter().any(|it| it == "--help" || it == "-h") {
            println!("{OWN_HELP}");
        }
        let mut harness = libtest_mimic::Arguments::from_iter(rest);
        let threads = match deployment {
            Some(Kind::Cluster) => CLUSTER_THREADS,
            _ => DEFAULT_THREADS,
        };
        harness.test_threads.get_or_insert(threads);
        Ok(Self {
            deployment,
            cycles,
            clients,
            members,
            minutes,
            binary,
            campaign,
            json,
            keep_data,
            harness,
        })
    }

    /// Keeps what a scenario saw, if that was asked for.
    pub(crate) fn report(&self, report: &impl Serialize) -> anyhow::Result<()> {
        let Some(file) = &self.json else {
            return Ok(());
        };
        std::fs::write(file, serde_json::to_vec_pretty(report)?)
            .with_context(|| format!("writing {}", file.display()))
    }

    /// Adds a line to what scenarios saw, if that was asked for.
    pub(crate) fn adds(&self, line: &impl Serialize) -> anyhow::Result<()> {
        let Some(file) = &self.json else {
            return Ok(());
        };
        let line = format!("{}\n", serde_json::to_string(line)?);
        let open = OpenOptions::new().create(true).append(true).open(file);
        open.and_then(|mut it| it.write_all(line.as_bytes()))
            .with_context(|| format!("writing {}", file.display()))
    }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{path:?}: {error}"))
}
