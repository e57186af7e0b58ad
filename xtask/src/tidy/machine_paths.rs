//! A tracked text names no path of one machine and no registry host: neither means anything to a reader elsewhere.

use super::report::Report;
use super::tree::Tree;

pub(super) const NAME: &str = "machine-paths";

/// Top-level folders in which people and machines keep their checkouts.
const FOLDERS: [&str; 5] = ["root", "work", "farm", "home", "Users"];

/// Registries, as name and domain; hosts below them count too.
const REGISTRIES: [(&str, &str); 7] = [
    ("crates", "io"),
    ("registry.npmjs", "org"),
    ("pypi", "org"),
    ("files.pythonhosted", "org"),
    ("repo1.maven", "org"),
    ("proxy.golang", "org"),
    ("sum.golang", "org"),
];

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    let folders = FOLDERS.map(|folder| format!("/{folder}/"));
    let hosts = REGISTRIES.map(|(name, domain)| format!("{name}.{domain}"));
    for file in tree.files() {
        // Cargo writes the registry into its lock file.
        if file.ends_with("Cargo.lock") {
            continue;
        }
        let Some(text) = tree.text(file)? else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if let Some(folder) = folders.iter().find(|it| names_folder(line, it)) {
                report.add(
                    file,
                    index + 1,
                    format!("`{folder}` is a path of one machine"),
                );
            }
            if let Some(host) = hosts.iter().find(|it| names_host(line, it)) {
                report.add(file, index + 1, format!("`{host}` is a registry host"));
            }
        }
    }
    Ok(())
}

/// Whether an absolute path begins with `folder`; `doc/work/plan.md`, `./work/` and `$BASE/work/` are not absolute.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || ".-_~}*>)".contains(before))
    })
}

fn names_host(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + host.len()..].chars().next();
        !before.is_some_and(|it| it.is_alphanumeric() || it == '-' || it == '_')
            && !after.is_some_and(|it| it.is_alphanumeric() || it == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in_fixture;

    #[test]
    fn a_machines_path_and_a_registry_host_are_named() {
        // Put together here, so that this file does not break the rule.
        let (folder, host) = (format!("/{}/", FOLDERS[0]), format!("{}.io", "crates"));
        assert_eq!(
            findings_in_fixture(NAME),
            [
                format!("doc/install.md:3: machine-paths: `{folder}` is a path of one machine"),
                format!("doc/install.md:4: machine-paths: `{host}` is a registry host"),
            ]
        );
    }

    #[test]
    fn a_folder_of_that_name_inside_a_relative_path_or_address_is_no_machine_path() {
        let inside = [
            "see doc/depot/plan.md",
            "./depot/",
            "$DIR/depot/",
            "${DIR}/depot/",
            "example.net/depot/",
        ];
        for line in inside {
            assert!(!names_folder(line, "/depot/"), "{line}");
        }
        let absolute = [
            "/depot/main",
            "cd /depot/main",
            "`/depot/main`",
            "path = \"/depot/x\"",
            "file:///depot/x",
        ];
        for line in absolute {
            assert!(names_folder(line, "/depot/"), "{line}");
        }
    }

    #[test]
    fn a_registry_is_found_by_its_subdomains_but_not_inside_another_name() {
        let host = "registry.example";
        let named = [
            "https://registry.example/x",
            "static.registry.example",
            "registry.example-index",
            "at registry.example.",
        ];
        for line in named {
            assert!(names_host(line, host), "{line}");
        }
        for line in ["my-registry.example", "registry.examples"] {
            assert!(!names_host(line, host), "{line}");
        }
    }
}
