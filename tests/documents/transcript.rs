//! A conversation with the server, line by line: `alice> {…}` is sent, `alice< {…}` comes, `alice! 4001` is the server's close.

use anyhow::{Context, bail};

/// What happens on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client sends this text.
    Sends(String),
    /// This comes, as JSON with marks.
    Comes(String),
    /// The server closes with this code.
    Closes(u16),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The user whose connection it is.
    pub(crate) user: String,
    /// What happens.
    pub(crate) step: Step,
    /// As it stands in the document.
    pub(crate) text: String,
}

/// Reads a transcript. Empty lines and those that begin with `#` are for people.
pub(crate) fn lines(text: &str) -> anyhow::Result<Vec<Line>> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(line).collect()
}

fn line(text: &str) -> anyhow::Result<Line> {
    let (head, rest) = text
        .split_once(' ')
        .with_context(|| format!("no step: {text:?}"))?;
    let rest = rest.trim();
    let (user, step) = match head.split_at(head.len().saturating_sub(1)) {
        (user, ">") => (user, Step::Sends(rest.to_owned())),
        (user, "<") => (user, Step::Comes(rest.to_owned())),
        (user, "!") => (user, Step::Closes(rest.parse()?)),
        _ => bail!("no step: {text:?}"),
    };
    Ok(Line {
        user: user.to_owned(),
        step,
        text: text.to_owned(),
    })
}
