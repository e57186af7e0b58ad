//! What the page says of one attack.

use super::{machine::Machine, record::Record};

const COMMIT: &str = "Commit `";
const FAILED: &str = "Failed: ";

/// A section without its title: from which commit, where, how long it took; why it failed; figures.
pub(super) struct Section(String);

impl Section {
    /// Of what was made.
    pub(super) fn of(record: &Record, figures: &str) -> Self {
        let Machine {
            commit,
            processor,
            cores,
            memory_gib,
            kernel,
            ..
        } = &record.machine;
        let seconds = record.seconds;
        let head = format!(
            "{COMMIT}{commit}`; {processor}, {cores} cores, {memory_gib} GiB; {kernel}; {seconds} s."
        );
        let failed = record.failed.iter().map(|why| format!("{FAILED}{why}"));
        let parts: Vec<String> = std::iter::once(head)
            .chain(failed)
            .chain([figures.to_owned()])
            .collect();
        Self(parts.join("\n\n").trim().to_owned())
    }

    /// As it stands in a page.
    pub(super) fn standing(page: &str, title: &str) -> Option<Self> {
        let head = format!("\n## {title}\n");
        let (_, rest) = page.split_once(&head)?;
        let section = rest.split("\n## ").next()?.trim();
        section
            .starts_with(COMMIT)
            .then(|| Self(section.to_owned()))
    }

    pub(super) fn commit(&self) -> &str {
        let rest = self.0.strip_prefix(COMMIT).unwrap_or_default();
        rest.split('`').next().unwrap_or_default()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.0.lines().any(|it| it.starts_with(FAILED))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}
