//! Inside a service, dependencies point inwards: handler → application → domain, infrastructure → application and
//! domain; `service` alone sees them all. Domain and application name no driver, database or wire crate.
//!
//! Every path counts: in `use`, in code, in attributes, in macro calls and in test modules. A name that the crate's
//! root re-exports from a layer counts as that layer.

mod paths;

use std::collections::HashMap;

use super::crate_tiers::{Tier, tier_of};
use super::report::Report;
use super::tree::{Crate, Tree};
use paths::{PathUse, paths_in};

pub(super) const NAME: &str = "layers";

/// A top-level module of a service that has a place in the order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Domain,
    Application,
    Infrastructure,
    Handler,
    Service,
}

impl Layer {
    fn named(module: &str) -> Option<Self> {
        Some(match module {
            "domain" => Self::Domain,
            "application" => Self::Application,
            "infrastructure" => Self::Infrastructure,
            "handler" => Self::Handler,
            "service" => Self::Service,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Application => "application",
            Self::Infrastructure => "infrastructure",
            Self::Handler => "handler",
            Self::Service => "service",
        }
    }

    fn may_refer_to(self, other: Self) -> bool {
        match self {
            Self::Domain => other == Self::Domain,
            Self::Application => matches!(other, Self::Domain | Self::Application),
            Self::Infrastructure => !matches!(other, Self::Handler | Self::Service),
            Self::Handler => !matches!(other, Self::Infrastructure | Self::Service),
            Self::Service => true,
        }
    }

    fn may_name_drivers(self) -> bool {
        !matches!(self, Self::Domain | Self::Application)
    }
}

/// Crates of databases, brokers and wires; `tonic` stands for `tonic_health` and its other companions too.
const DRIVERS: [&str; 8] = [
    "axum", "fjall", "mongodb", "prost", "rdkafka", "redis", "sqlx", "tonic",
];

fn driver(name: &str) -> Option<&'static str> {
    DRIVERS.into_iter().find(|driver| {
        name.strip_prefix(driver)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    for service in tree.crates() {
        if tier_of(&service.name) == Some(Tier::Service) {
            check_service(tree, service, report)?;
        }
    }
    Ok(())
}

fn check_service(tree: &Tree, service: &Crate, report: &mut Report) -> anyhow::Result<()> {
    let src = format!("{}/src/", service.dir);
    let crate_name = service.name.replace('-', "_");
    let exported = exported_by_root(tree, service, &crate_name)?;
    for file in tree.files_of_kind(&["rs"]) {
        let Some(inside) = file
            .strip_prefix(&src)
            .and_then(|it| it.strip_suffix(".rs"))
        else {
            continue;
        };
        let module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        let Some(layer) = module.first().and_then(|top| Layer::named(top)) else {
            continue;
        };
        let Some(text) = tree.text(file)? else {
            continue;
        };
        let Ok(parsed) = syn::parse_file(&text) else {
            report.add(file, 1, "does not parse as Rust");
            continue;
        };
        for path in paths_in(&parsed, &module, &crate_name) {
            if let Some(message) = objection(layer, &path, &exported) {
                report.add(file, path.line, message);
            }
        }
    }
    Ok(())
}

/// Why the path may not stand in `layer`; `None` if it may.
fn objection(layer: Layer, path: &PathUse, exported: &HashMap<String, Layer>) -> Option<String> {
    let first = path.segments.first()?;
    if !path.in_crate {
        let driver = driver(first)?;
        return (!layer.may_name_drivers()).then(|| {
            format!(
                "{} may not name `{driver}`: it belongs behind a port",
                layer.name()
            )
        });
    }
    let other = Layer::named(first).or_else(|| exported.get(first).copied())?;
    (!layer.may_refer_to(other)).then(|| {
        format!(
            "{} may not refer to {}: `crate::{}`",
            layer.name(),
            other.name(),
            path.segments.join("::")
        )
    })
}

/// The names that the crate's root takes out of a layer, so that `crate::Name` means that layer.
fn exported_by_root(
    tree: &Tree,
    service: &Crate,
    crate_name: &str,
) -> anyhow::Result<HashMap<String, Layer>> {
    let Some(text) = tree.text(&service.root_file)? else {
        return Ok(HashMap::new());
    };
    let Ok(parsed) = syn::parse_file(&text) else {
        return Ok(HashMap::new());
    };
    let names = paths::names_used_at_root(&parsed, crate_name);
    Ok(names
        .into_iter()
        .filter_map(|(name, first)| Some((name, Layer::named(&first)?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in_fixture;

    #[test]
    fn every_kind_of_path_that_points_outwards_is_named() {
        let findings = findings_in_fixture(NAME);
        let expected = [
            "session/src/application/send.rs:2: layers: application may not refer to handler: `crate::handler::grpc`",
            "session/src/application/send.rs:3: layers: application may not name `axum`: it belongs behind a port",
            "session/src/domain.rs:4: layers: domain may not refer to infrastructure: `crate::infrastructure::Rows`",
            "session/src/domain.rs:7: layers: domain may not name `sqlx`: it belongs behind a port",
            "session/src/domain.rs:12: layers: domain may not name `prost`: it belongs behind a port",
            "session/src/domain.rs:16: layers: domain may not refer to service: `crate::service::build`",
            "session/src/domain.rs:17: layers: domain may not refer to infrastructure: `crate::Rows::default`",
            "session/src/domain.rs:24: layers: domain may not name `tonic`: it belongs behind a port",
            "session/src/domain/member.rs:1: layers: domain may not refer to application: `crate::application`",
            "session/src/domain/member.rs:5: layers: domain may not refer to handler: `crate::handler::Reply`",
            "session/src/handler/grpc.rs:1: layers: handler may not refer to infrastructure: `crate::infrastructure::Rows`",
            "session/src/infrastructure.rs:2: layers: infrastructure may not refer to service: `crate::service::build`",
        ];
        assert_eq!(findings, expected);
    }

    #[test]
    fn a_companion_crate_counts_as_its_driver_but_not_every_name_that_begins_alike() {
        assert_eq!(driver("tonic_health"), Some("tonic"));
        assert_eq!(driver("prost_types"), Some("prost"));
        assert_eq!(driver("redistribute"), None);
    }
}
