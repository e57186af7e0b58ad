//! `sh run` blocks are run, in their order, and print what a `text` or `json` block with the tag `shows` behind them shows. `sh stopped` blocks are
//! run when the server has been stopped.

use anyhow::{Context, bail, ensure};

use crate::{
    answers,
    markdown::{self, Block},
    server::Server,
    shell::{self, Ground},
    tools,
};

const RUN: &str = "sh run";
const STOPPED: &str = "sh stopped";

/// Runs the examples of a document against a server of their own.
pub(crate) fn run(document: &str) -> anyhow::Result<()> {
    let blocks = markdown::blocks(document)?;
    ensure!(
        blocks.iter().any(|it| it.tag == RUN),
        "{document} has no example"
    );
    let mut server = Server::start()?;
    play(&beside(&server), &blocks, RUN)?;
    server.stop()?;
    play(&beside(&server), &blocks, STOPPED)
}

fn beside(server: &Server) -> Ground<'_> {
    Ground {
        folder: server.folder(),
        variables: server.variables().to_vec(),
    }
}

/// Runs the examples of a document against a cluster of their own, but for those that look at a stopped server's data folder.
#[cfg(feature = "server-tests")]
pub(crate) fn run_on_a_cluster(document: &str) -> anyhow::Result<()> {
    let cluster = crate::cluster::Cluster::start()?;
    let ground = Ground {
        folder: cluster.folder(),
        variables: cluster.variables()?,
    };
    play(&ground, &markdown::blocks(document)?, RUN)?;
    cluster.stop()
}

/// A translation has the blocks of its original, to the letter: those were run.
pub(crate) fn same(original: &str, translation: &str) -> anyhow::Result<()> {
    let (blocks, translated) = (markdown::blocks(original)?, markdown::blocks(translation)?);
    for (block, other) in blocks.iter().zip(&translated) {
        ensure!(
            (&block.tag, &block.text) == (&other.tag, &other.text),
            "{} is not {}",
            other.place,
            block.place
        );
    }
    ensure!(
        blocks.len() == translated.len(),
        "{original} has {} blocks, {translation} has {}",
        blocks.len(),
        translated.len()
    );
    Ok(())
}

fn play(ground: &Ground<'_>, blocks: &[Block], tag: &str) -> anyhow::Result<()> {
    let mut played = Vec::new();
    for (index, block) in blocks.iter().enumerate().filter(|(_, it)| it.tag == tag) {
        match tools::lacked_by(&block.text) {
            Some(tool) => eprintln!("not run, {tool} is not installed: {}", block.place),
            None => played.push((
                block,
                blocks
                    .get(index + 1)
                    .filter(|it| it.tag.ends_with(" shows")),
            )),
        }
    }
    if played.is_empty() {
        return Ok(());
    }
    let scripts: Vec<&Block> = played.iter().map(|(block, _)| *block).collect();
    let printed = shell::run(ground, &scripts)?;
    for ((_, shown), came) in played.into_iter().zip(printed) {
        if let Some(shown) = shown {
            compare(shown, &came).with_context(|| format!("{}, came\n{came}", shown.place))?;
        }
    }
    Ok(())
}

fn compare(shown: &Block, came: &str) -> anyhow::Result<()> {
    if shown.tag == "json shows" {
        let (shown, came) = (
            serde_json::from_str(&shown.text)?,
            serde_json::from_str(came)?,
        );
        return answers::difference(&shown, &came).map_or(Ok(()), |difference| bail!(difference));
    }
    let (shown, came): (Vec<_>, Vec<_>) = (shown.text.lines().collect(), came.lines().collect());
    ensure!(
        shown.len() == came.len(),
        "{} lines are shown, {} came",
        shown.len(),
        came.len()
    );
    for (shown, came) in shown.into_iter().zip(came) {
        ensure!(
            answers::line_is_like(shown, came),
            "shown {shown:?}, came {came:?}"
        );
    }
    Ok(())
}
