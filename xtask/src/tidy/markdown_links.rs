//! Links in documents lead somewhere: to a file that git has, and to a heading that is there.
//!
//! Addresses on the web are not asked, so that a check depends on nothing outside; registry hosts among them are found
//! by the rule `machine-paths`.

mod document;

use std::collections::HashMap;

use super::report::Report;
use super::tree::{self, Tree, folder};
use document::Document;

pub(super) const NAME: &str = "markdown-links";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    let mut documents = HashMap::new();
    for file in tree.files_of_kind(&["md"]) {
        if let Some(text) = tree.text(file)? {
            documents.insert(file, Document::parse(&text));
        }
    }
    for (file, document) in &documents {
        for link in &document.links {
            if let Some(message) = objection(tree, &documents, file, &link.target)? {
                report.add(file, link.line, format!("`{}`: {message}", link.target));
            }
        }
        for link in &document.undefined {
            report.add(
                file,
                link.line,
                format!("`[{}]`: no such link definition", link.target),
            );
        }
    }
    Ok(())
}

/// Why the link leads nowhere; `None` if it leads somewhere, or out of the repository.
fn objection(
    tree: &Tree,
    documents: &HashMap<&str, Document>,
    from: &str,
    target: &str,
) -> anyhow::Result<Option<String>> {
    if ["http:", "https:", "mailto:", "//"]
        .iter()
        .any(|it| target.starts_with(it))
    {
        return Ok(None);
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(decode(anchor))),
        None => (target, None),
    };
    let Some(file) = resolve(from, &decode(path)) else {
        return Ok(Some("leads out of the repository".to_owned()));
    };
    if !tree.contains(&file) {
        return Ok(Some(format!("there is no `{file}`")));
    }
    let Some(anchor) = anchor else {
        return Ok(None);
    };
    if let Some(document) = documents.get(file.as_str()) {
        if document.anchors.contains(&anchor) {
            return Ok(None);
        }
        return Ok(Some(format!("`{file}` has no heading `#{anchor}`")));
    }
    let lines = if tree.files().contains(&file) {
        tree.text(&file)?.map_or(0, |text| text.lines().count())
    } else {
        0
    };
    if names_lines(&anchor, lines) {
        return Ok(None);
    }
    Ok(Some(format!("`{file}` has no `#{anchor}`")))
}

/// Where `path` leads from the file `from`; `None` above the root. A leading `/` is the repository's root, as on forges.
fn resolve(from: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let (base, path) = match path.strip_prefix('/') {
        Some(from_root) => ("", from_root),
        None => (folder(from), path),
    };
    tree::resolve(base, path)
}

/// Whether an anchor is `L7` or `L7-L9` and the file has these lines.
fn names_lines(anchor: &str, lines: usize) -> bool {
    let mut ends = anchor
        .split('-')
        .map(|end| end.strip_prefix('L')?.parse::<usize>().ok());
    let (first, last, rest) = (ends.next().flatten(), ends.next(), ends.next());
    let last = last.unwrap_or(first);
    matches!((first, last), (Some(first), Some(last)) if 1 <= first && first <= last && last <= lines)
        && rest.is_none()
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let encoded = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match encoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in_fixture;

    #[test]
    fn links_to_missing_files_headings_lines_and_definitions_are_named() {
        assert_eq!(
            findings_in_fixture(NAME),
            [
                "README.md:3: markdown-links: `doc/missing.md`: there is no `doc/missing.md`",
                "README.md:5: markdown-links: `#no-such-heading`: `README.md` has no heading `#no-such-heading`",
                "README.md:6: markdown-links: `doc/guide.md#third`: `doc/guide.md` has no heading `#third`",
                "README.md:7: markdown-links: `missing.png`: there is no `missing.png`",
                "README.md:9: markdown-links: `[nowhere]`: no such link definition",
                "README.md:10: markdown-links: `doc/gone.html`: there is no `doc/gone.html`",
                "doc/guide.md:6: markdown-links: `../src/main.rs#L9`: `src/main.rs` has no `#L9`",
                "doc/guide.md:7: markdown-links: `../../elsewhere.md`: leads out of the repository",
            ]
        );
    }

    #[test]
    fn paths_are_resolved_as_a_forge_does() {
        assert_eq!(
            resolve("doc/adr/1.md", "../guide.md").as_deref(),
            Some("doc/guide.md")
        );
        assert_eq!(
            resolve("doc/adr/1.md", "/README.md").as_deref(),
            Some("README.md")
        );
        assert_eq!(resolve("doc/guide.md", "").as_deref(), Some("doc/guide.md"));
        assert_eq!(
            resolve("doc/guide.md", "./adr/").as_deref(),
            Some("doc/adr")
        );
        assert_eq!(resolve("README.md", "../x.md"), None);
    }

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode("a%20b"), "a b");
        assert_eq!(decode("%E4%BD%A0"), "你");
        assert_eq!(decode("100%"), "100%");
    }
}
