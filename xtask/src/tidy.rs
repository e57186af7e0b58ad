//! `cargo xtask tidy`: one module a rule, one tree for all of them.

mod crate_readme;
mod crate_tiers;
mod file_length;
mod honest_tests;
mod layers;
mod lost_files;
mod machine_paths;
mod markdown_links;
mod names;
mod no_mod_rs;
mod report;
mod tree;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use report::Report;
use tree::Tree;

/// A rule's name, as printed and as its fixture folder is called, and its check.
struct Rule {
    name: &'static str,
    check: fn(&Tree, &mut Report) -> anyhow::Result<()>,
}

const RULES: [Rule; 10] = [
    Rule {
        name: crate_tiers::NAME,
        check: crate_tiers::check,
    },
    Rule {
        name: layers::NAME,
        check: layers::check,
    },
    Rule {
        name: no_mod_rs::NAME,
        check: no_mod_rs::check,
    },
    Rule {
        name: lost_files::NAME,
        check: lost_files::check,
    },
    Rule {
        name: file_length::NAME,
        check: file_length::check,
    },
    Rule {
        name: markdown_links::NAME,
        check: markdown_links::check,
    },
    Rule {
        name: names::NAME,
        check: names::check,
    },
    Rule {
        name: machine_paths::NAME,
        check: machine_paths::check,
    },
    Rule {
        name: crate_readme::NAME,
        check: crate_readme::check,
    },
    Rule {
        name: honest_tests::NAME,
        check: honest_tests::check,
    },
];

/// The names that `--rule` takes.
pub(crate) fn rule_names() -> [&'static str; RULES.len()] {
    RULES.map(|rule| rule.name)
}

/// Checks the repository by the named rules, all if none is named, and prints what it finds.
pub(crate) fn run(only: &[String]) -> anyhow::Result<ExitCode> {
    let tree = Tree::of_repository()?;
    let report = check(&tree, only)?;
    let mut out = std::io::stdout().lock();
    for finding in report.findings() {
        writeln!(out, "{finding}")?;
    }
    let count = report.findings().len();
    if count == 0 {
        writeln!(out, "tidy: {} files, nothing to report", tree.files().len())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "tidy: {count} to put right")?;
    Ok(ExitCode::FAILURE)
}

fn check(tree: &Tree, only: &[String]) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for rule in &RULES {
        if only.is_empty() || only.iter().any(|name| name == rule.name) {
            report.begin(rule.name);
            (rule.check)(tree, &mut report).with_context(|| format!("rule {}", rule.name))?;
        }
    }
    report.sort();
    Ok(report)
}

/// What `rule` alone says of its own fixture folder, as it would be printed.
#[cfg(test)]
fn findings_in_fixture(rule: &str) -> Vec<String> {
    let tree = Tree::of_fixture(rule);
    let report = check(&tree, &[rule.to_owned()]).unwrap();
    report.findings().iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_fixture_that_breaks_it() {
        for rule in rule_names() {
            let findings = findings_in_fixture(rule);
            assert!(
                findings
                    .iter()
                    .any(|line| line.contains(&format!(": {rule}: "))),
                "rule {rule} finds nothing in its fixture: {findings:?}"
            );
        }
    }

    #[test]
    fn the_table_in_the_readme_lists_every_rule_in_order() {
        let listed: Vec<&str> = include_str!("../README.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(listed, rule_names());
    }
}
