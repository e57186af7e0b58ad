//! The command line: a few words of our own, the rest is libtest's.

use crate::deployment::Kind;

const OWN_HELP: &str = "\
Beside the options below, these end-to-end scenarios take:
    --deployment KIND   Only scenarios against this deployment: embedded or split
    --cycles N          How often the kill loop kills the server; 25 if not given
    --keep-data         Keep data, logs and histories also of what succeeds, and say where
";
const DEFAULT_CYCLES: u32 = 25;
/// Two servers with their clients keep two cores busy.
const DEFAULT_THREADS: usize = 2;

/// What was asked for.
pub(crate) struct Arguments {
    pub(crate) deployment: Option<Kind>,
    pub(crate) cycles: u32,
    pub(crate) keep_data: bool,
    pub(crate) harness: libtest_mimic::Arguments,
}

impl Arguments {
    /// Reads the command line, the program's name first. For a mistake in our own words it says what is wrong; of libtest's it ends the process.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut deployment, mut cycles, mut keep_data) = (None, DEFAULT_CYCLES, false);
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
                "--keep-data" => keep_data = true,
                _ => rest.push(word),
            }
        }
        if rest.iter().any(|it| it == "--help" || it == "-h") {
            println!("{OWN_HELP}");
        }
        let mut harness = libtest_mimic::Arguments::from_iter(rest);
        harness.test_threads.get_or_insert(DEFAULT_THREADS);
        Ok(Self {
            deployment,
            cycles,
            keep_data,
            harness,
        })
    }
}
