//! Running one target, and reading what it says.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::Context;
use serde::Serialize;

use super::build::Built;

/// Where a target writes its decoder's examples before it begins; the targets read it.
const SEEDS_VARIABLE: &str = "FLARE_FUZZ_SEEDS";
/// An input that takes longer counts as a hang, in seconds.
const MOST_SECONDS: u64 = 10;
/// A target that takes more memory counts as broken, in mebibytes.
const MOST_MIB: u64 = 2_048;

/// What one target has found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    seconds: u64,
    pub(super) executions: u64,
    executions_per_s: u64,
    /// Edges that were taken.
    edges: u64,
    /// Edges with how often they were taken, and comparisons.
    features: u64,
    /// Inputs that are kept, each for something that no other does.
    corpus: u64,
    pub(super) crash: bool,
    /// The input that broke the decoder.
    #[serde(skip_serializing_if = "String::is_empty")]
    input: String,
    /// How to see it again.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) replay: String,
    /// What was said last.
    #[serde(skip_serializing_if = "String::is_empty")]
    said: String,
}

impl Outcome {
    /// Whether it has run and found nothing.
    pub(super) fn is_good(&self) -> bool {
        !self.crash && self.executions > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} executions in {} s, {} edges, corpus of {}",
            self.name, self.executions, self.seconds, self.edges, self.corpus
        )?;
        if self.crash {
            write!(f, "; BROKEN by {}: {}", self.input, self.said)
        } else if self.executions == 0 {
            write!(f, "; it has run NOTHING: {}", self.said)
        } else {
            Ok(())
        }
    }
}

/// Runs a target for so long, on from the corpus of its last run.
pub(super) fn run(built: &Built, name: &str, seconds: u64) -> anyhow::Result<Outcome> {
    let folder = |kind: &str| -> anyhow::Result<PathBuf> {
        let folder = built.folder.join(kind).join(name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(folder)
    };
    let (corpus, seeds, found) = (folder("corpus")?, folder("seeds")?, folder("found")?);
    // Those of a run before are kept beside, so that what is there afterwards is of this one.
    let before = inputs(&found)?;
    let log = found.join("log");
    let output = File::create(&log).with_context(|| log.display().to_string())?;
    let binary = built.binaries.join(name);
    let begun = Instant::now();
    let status = Command::new(&binary)
        .args([&corpus, &seeds])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={MOST_SECONDS}"))
        .arg(format!("-rss_limit_mb={MOST_MIB}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg("-print_final_stats=1")
        .env(SEEDS_VARIABLE, &seeds)
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .with_context(|| binary.display().to_string())?;
    let mut outcome = read(BufReader::new(File::open(&log)?))?;
    name.clone_into(&mut outcome.name);
    outcome.seconds = begun.elapsed().as_secs();
    outcome.crash = !status.success();
    if outcome.crash {
        let new = inputs(&found)?.into_iter().find(|it| !before.contains(it));
        let input = new.map(|it| it.display().to_string()).unwrap_or_default();
        outcome.replay = format!("{} {input}", binary.display());
        outcome.input = input;
    } else if outcome.is_good() {
        outcome.said.clear();
    }
    Ok(outcome)
}

/// Inputs that broke the target.
fn inputs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|it| it != "log") {
            inputs.push(path);
        }
    }
    Ok(inputs)
}

/// Figures from what libFuzzer says: its last line of progress, and its statistics.
fn read(said: impl BufRead) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut panicked = false;
    for line in said.split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
            outcome.executions = rest.trim().parse()?;
        } else if let Some(rest) = line.strip_prefix("stat::average_exec_per_sec:") {
            outcome.executions_per_s = rest.trim().parse()?;
        } else if line.starts_with('#') {
            let after = |name: &str| -> Option<u64> {
                let mut words = line.split_whitespace().skip_while(|it| *it != name);
                words.nth(1)?.split('/').next()?.parse().ok()
            };
            outcome.edges = after("cov:").unwrap_or(outcome.edges);
            outcome.features = after("ft:").unwrap_or(outcome.features);
            outcome.corpus = after("corp:").unwrap_or(outcome.corpus);
        } else if std::mem::take(&mut panicked)
            || (line.contains("ERROR:") && outcome.said.is_empty())
        {
            outcome.said = line.chars().take(300).collect();
        } else {
            panicked = line.contains("panicked at");
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_last_line_and_of_the_statistics() {
        let said = b"INFO: seed\n#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #900\tDONE   cov: 120 ft: 340 corp: 17/2Kb lim: 4096 exec/s: 450 rss: 60Mb\n\
            stat::number_of_executed_units: 900\nstat::average_exec_per_sec:     450\n";
        let outcome = read(&said[..]).unwrap();
        assert_eq!(
            (outcome.edges, outcome.features, outcome.corpus),
            (120, 340, 17)
        );
        assert_eq!((outcome.executions, outcome.executions_per_s), (900, 450));
        assert!(outcome.is_good());
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        let said = b"thread 'main' panicked at src/frames.rs:7:5:\nattempt to add with overflow\n==7== ERROR: libFuzzer: deadly signal\n";
        assert_eq!(
            read(&said[..]).unwrap().said,
            "attempt to add with overflow"
        );
    }

    #[test]
    fn a_target_that_ran_nothing_is_not_good() {
        assert!(!read(&b"nothing\n"[..]).unwrap().is_good());
    }
}
