//! The program's sources, as far as documents are held against them.

use std::path::Path;

use crate::markdown;

/// Below it a file has tests only.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// A file.
pub(crate) struct Source {
    pub(crate) place: String,
    /// Without its tests.
    pub(crate) text: String,
}

/// Everything that is compiled into the program.
pub(crate) fn of_the_program() -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(markdown::root())? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|it| it.to_str());
        if name.is_some_and(|it| it.starts_with("flare-")) {
            collect(&folder, &mut sources)?;
        }
    }
    Ok(sources)
}

fn collect(folder: &Path, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|it| it.to_str());
        let name = name.unwrap_or_default();
        if path.is_dir() && !matches!(name, "tests" | "benches") {
            collect(&path, sources)?;
        } else if name.ends_with(".rs") && !matches!(name, "tests.rs" | "build.rs") {
            let text = std::fs::read_to_string(&path)?;
            let program = text.split(TESTS).next().unwrap_or_default();
            sources.push(Source {
                place: path.display().to_string(),
                text: program.to_owned(),
            });
        }
    }
    Ok(())
}

/// What stands between the parentheses of each call of a macro.
pub(crate) fn calls<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let call = format!("{name}!(");
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(&call)?;
            let (before, after) = (&rest[..at], &rest[at + call.len()..]);
            rest = after;
            let is_whole = !before.ends_with(|it: char| it.is_alphanumeric() || it == '_');
            if is_whole {
                return Some(&after[..closing(after)]);
            }
        }
    })
}

/// Where the parenthesis closes that was open at the beginning.
fn closing(text: &str) -> usize {
    let (mut depth, mut quoted) = (1, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The string literals, each with what follows it.
pub(crate) fn strings(arguments: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = arguments.split('"').collect();
    parts
        .chunks(2)
        .enumerate()
        .filter_map(|(index, pair)| {
            let literal = pair.get(1)?;
            let rest = parts.get(2 * index + 2).copied().unwrap_or_default();
            Some((*literal, rest.trim_start()))
        })
        .collect()
}
