//! Crates depend downward only, in tests and build scripts as well.

use cargo_metadata::DependencyKind;

use super::report::Report;
use super::tree::{Crate, Dependency, Tree};

pub(super) const NAME: &str = "crate-tiers";

/// Where a crate stands, from the bottom up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// The proto files and what is generated from them.
    Contract,
    /// The client link, and what every service stands on.
    Foundation,
    /// The message log and store, below the services.
    Storage,
    /// One service.
    Service,
    /// What clients link: it knows the link and the contract, no server crate.
    Sdk,
    /// The history checker: it stands on nothing of ours, so that it shares no mistake with what it checks.
    Checker,
    /// Puts what the server holds in the checker's words.
    Translator,
    /// Drives the very types of several services without their servers.
    Simulation,
    /// Feeds bytes to the decoders of several services without their servers.
    Decoders,
    /// The only crate that knows several services.
    Composer,
    /// Tools of the repository.
    Tool,
}

const TIERS: [(&str, Tier); 20] = [
    ("flare-proto", Tier::Contract),
    ("flare-core", Tier::Foundation),
    ("flare-server-core", Tier::Foundation),
    ("flare-storage-model", Tier::Storage),
    ("flare-access-gateway", Tier::Service),
    ("flare-core-gateway", Tier::Service),
    ("flare-signaling-online", Tier::Service),
    ("flare-signaling-route", Tier::Service),
    ("flare-message-orchestrator", Tier::Service),
    ("flare-storage-writer", Tier::Service),
    ("flare-storage-reader", Tier::Service),
    ("flare-session", Tier::Service),
    ("flare-push-server", Tier::Service),
    ("flare-core-sdk", Tier::Sdk),
    ("flare-checker", Tier::Checker),
    ("flare-history", Tier::Translator),
    ("flare-simulation", Tier::Simulation),
    ("flare-decoders", Tier::Decoders),
    ("flare-im", Tier::Composer),
    ("xtask", Tier::Tool),
];

/// The crate's tier; `None` if nobody gave it one.
pub(super) fn tier_of(name: &str) -> Option<Tier> {
    TIERS
        .iter()
        .find(|(listed, _)| *listed == name)
        .map(|(_, tier)| *tier)
}

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for member in tree.crates() {
        let manifest = member.manifest();
        let text = tree.text(&manifest)?.unwrap_or_default();
        let Some(tier) = tier_of(&member.name) else {
            let line = line_starting_with(&text, "name").unwrap_or(1);
            report.add(
                &manifest,
                line,
                format!(
                    "`{}` has no tier: give it one in xtask/src/tidy/crate_tiers.rs",
                    member.name
                ),
            );
            continue;
        };
        for dependency in &member.dependencies {
            if let Some(why) = objection(member, tier, dependency) {
                let line = line_of(&text, dependency).unwrap_or(1);
                report.add(
                    &manifest,
                    line,
                    format!(
                        "`{}` may not depend on `{}`: {why}",
                        member.name, dependency.name
                    ),
                );
            }
        }
    }
    Ok(())
}

/// Why the edge is forbidden; `None` if it is not.
fn objection(from: &Crate, tier: Tier, to: &Dependency) -> Option<&'static str> {
    // A crate without a tier is reported by itself; a crate may depend on itself with other features in its tests.
    let target = tier_of(&to.name)?;
    if from.name == to.name {
        return None;
    }
    let in_tests = to.kind == DependencyKind::Development;
    match (tier, target) {
        (_, Tier::Composer | Tier::Simulation | Tier::Decoders | Tier::Tool) => {
            Some("nothing stands on it")
        }
        (Tier::Composer | Tier::Simulation | Tier::Decoders, _) => None,
        (Tier::Contract | Tier::Checker | Tier::Tool, _) => Some("it stands on nothing of ours"),
        (_, Tier::Checker | Tier::Translator) if in_tests => None,
        (Tier::Translator, Tier::Contract | Tier::Checker) => None,
        (Tier::Foundation | Tier::Sdk | Tier::Storage | Tier::Service, Tier::Contract) => None,
        (Tier::Storage | Tier::Service, Tier::Foundation) | (Tier::Service, Tier::Storage) => None,
        (Tier::Sdk, Tier::Foundation) if to.name == "flare-core" => None,
        (Tier::Sdk, _) => Some("the SDK stands on flare-core and flare-proto only"),
        (Tier::Service, Tier::Service) => {
            Some("a service reaches another by its proto, never by its crate")
        }
        (_, Tier::Sdk | Tier::Checker | Tier::Translator) => Some("flare-im alone links it"),
        _ => Some("dependencies point to lower tiers only"),
    }
}

fn line_starting_with(manifest: &str, key: &str) -> Option<usize> {
    manifest
        .lines()
        .position(|line| names_key(line, key))
        .map(|index| index + 1)
}

/// The line of the dependency, in the table of its kind or as a table of its own.
fn line_of(manifest: &str, dependency: &Dependency) -> Option<usize> {
    let table = match dependency.kind {
        DependencyKind::Development => "dev-dependencies",
        DependencyKind::Build => "build-dependencies",
        _ => "dependencies",
    };
    let mut in_table = false;
    for (index, line) in manifest.lines().enumerate() {
        if let Some(header) = line
            .trim()
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'))
        {
            let inner = header
                .rsplit_once('.')
                .filter(|(_, key)| *key == dependency.name);
            let path = inner.map_or(header, |(path, _)| path);
            in_table = path == table || path.ends_with(&format!(".{table}"));
            if in_table && inner.is_some() {
                return Some(index + 1);
            }
        } else if in_table && names_key(line, &dependency.name) {
            return Some(index + 1);
        }
    }
    None
}

fn names_key(line: &str, key: &str) -> bool {
    line.trim_start()
        .strip_prefix(key)
        .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
}

#[cfg(test)]
mod tests {
    use crate::tidy::findings_in_fixture;

    #[test]
    fn every_forbidden_edge_and_a_crate_without_a_tier_are_named() {
        assert_eq!(
            findings_in_fixture(super::NAME),
            [
                "checker/Cargo.toml:9: crate-tiers: `flare-checker` may not depend on `flare-proto`: \
                 it stands on nothing of ours",
                "newcomer/Cargo.toml:2: crate-tiers: `flare-newcomer` has no tier: \
                 give it one in xtask/src/tidy/crate_tiers.rs",
                "sdk/Cargo.toml:9: crate-tiers: `flare-core-sdk` may not depend on `flare-server-core`: \
                 the SDK stands on flare-core and flare-proto only",
                "server-core/Cargo.toml:7: crate-tiers: `flare-server-core` may not depend on `flare-session`: \
                 dependencies point to lower tiers only",
                "session/Cargo.toml:11: crate-tiers: `flare-session` may not depend on `flare-push-server`: \
                 a service reaches another by its proto, never by its crate",
            ]
        );
    }
}
