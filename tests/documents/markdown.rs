//! Fenced blocks and tables of the documents.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// What stands behind the opening fence: "sh run".
    pub(crate) tag: String,
    /// Its lines.
    pub(crate) text: String,
    /// Document and line of its first line.
    pub(crate) place: String,
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A document's text.
pub(crate) fn read(document: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(document)).with_context(|| document.to_owned())
}

/// The fenced blocks of a document, in their order.
pub(crate) fn blocks(document: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in read(document)?.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(""), Some(_)) => blocks.extend(open.take()),
            (Some(tag), None) => {
                let place = format!("{document}:{}", index + 2);
                open = Some(Block {
                    tag: tag.trim().to_owned(),
                    text: String::new(),
                    place,
                });
            }
            (_, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    if let Some(block) = open {
        bail!("{}: the block does not end", block.place);
    }
    Ok(blocks)
}

/// The cells of every table row of a document whose first cell is in backticks, these taken off.
pub(crate) fn rows(document: &str) -> anyhow::Result<Vec<Vec<String>>> {
    Ok(rows_in(&read(document)?))
}

/// Likewise, of one section.
pub(crate) fn rows_of(document: &str, heading: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let text = read(document)?;
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .with_context(|| format!("{document} has no section {heading:?}"))?;
    let section = section.split_once("\n## ").map_or(section, |(it, _)| it);
    Ok(rows_in(section))
}

fn rows_in(text: &str) -> Vec<Vec<String>> {
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        });
    rows.collect()
}
