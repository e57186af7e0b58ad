//! What the rules found.

use std::fmt;

/// One place that breaks one rule. Prints as `file:line: rule: message`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            message,
        } = self;
        write!(f, "{file}:{line}: {rule}: {message}")
    }
}

/// The findings of all rules; each is filed under the rule that `begin` named last.
#[derive(Debug, Default)]
pub(super) struct Report {
    rule: &'static str,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn begin(&mut self, rule: &'static str) {
        self.rule = rule;
    }

    /// Adds a finding. `file` is relative to the tree's root; `line` counts from 1, and is 1 when the whole file is meant.
    pub(super) fn add(&mut self, file: &str, line: usize, message: impl Into<String>) {
        self.findings.push(Finding {
            file: file.to_owned(),
            line,
            rule: self.rule,
            message: message.into(),
        });
    }

    /// Puts the findings in the order in which a reader walks the tree, each once.
    pub(super) fn sort(&mut self) {
        self.findings.sort();
        self.findings.dedup();
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }
}
