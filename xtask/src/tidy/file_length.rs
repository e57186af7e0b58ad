//! A file has at most 500 lines, or says at its head why it is longer.

use super::report::Report;
use super::tree::Tree;

pub(super) const NAME: &str = "file-length";

const MOST_LINES: usize = 500;
/// The reason is looked for in so many lines.
const HEAD_LINES: usize = 10;
const REASON: &str = "tidy: long because ";

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for file in tree.files_of_kind(&["rs", "proto", "js", "css", "html"]) {
        let Some(text) = tree.text(file)? else {
            continue;
        };
        let lines = text.lines().count();
        let reason = text.lines().take(HEAD_LINES).position(|line| {
            line.split_once(REASON)
                .is_some_and(|(_, reason)| reason.contains(char::is_alphanumeric))
        });
        match reason {
            None if lines > MOST_LINES => report.add(
                file,
                1,
                format!(
                    "{lines} lines: cut it in two, or say why not in a line `{REASON}…` among the first {HEAD_LINES}"
                ),
            ),
            Some(at) if lines <= MOST_LINES => report.add(
                file,
                at + 1,
                format!("{lines} lines are not long: remove the reason"),
            ),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn a_long_file_without_a_reason_and_a_reason_without_a_long_file_are_named() {
        assert_eq!(
            findings_in_fixture(super::NAME),
            [
                "src/short.rs:2: file-length: 3 lines are not long: remove the reason",
                "web/style.css:1: file-length: 501 lines: cut it in two, or say why not in a line \
                 `tidy: long because …` among the first 10",
            ]
        );
    }
}
