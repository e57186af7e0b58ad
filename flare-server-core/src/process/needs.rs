//! What a process cannot do without: the servers and services that those which it runs stand on.

use std::collections::BTreeMap;

use super::{AdapterKind, BaseConfig, RegistryKind};
use crate::{
    config::Mistake,
    registry::service,
    servers::{NotBuilt, Server},
};

/// What data is kept in.
const ADAPTERS: &str = "process.adapters";
/// How services are found.
const REGISTRY_KIND: &str = "registry.kind";
/// What processes know each other by.
const SECRET: &str = "peer.secret";
/// Where other services answer.
const REGISTRY: &str = "registry.services";

/// What is missing for `services`, or does not fit.
pub(super) fn mistakes(
    config: &BaseConfig,
    services: &[&'static str],
    origin: &dyn Fn(&str) -> String,
) -> Vec<Mistake> {
    let mut mistakes = every_server_is_named(config, services, origin);
    mistakes.extend(every_need_is_named(config, services, origin));
    mistakes.extend(callers_have_the_secret(config, services, origin));
    mistakes.extend(schemes_fit_tls(config, origin));
    mistakes
}

/// In a cluster, what the services stand on is named; and this build can speak to it.
fn every_server_is_named(
    config: &BaseConfig,
    services: &[&'static str],
    origin: &dyn Fn(&str) -> String,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut add = |key: &str, message: String| {
        mistakes.push(Mistake {
            origin: origin(key),
            key: key.to_owned(),
            message,
        });
    };
    let is_cluster = config.process.adapters == AdapterKind::Cluster;
    let is_static = config.registry.kind == RegistryKind::Static;
    if cfg!(not(feature = "cluster")) {
        if is_cluster {
            add(ADAPTERS, format!("cannot be cluster: {NotBuilt}"));
        }
        if !is_static {
            add(REGISTRY_KIND, format!("must be static: {NotBuilt}"));
        }
    }
    let all = service::ALL.iter().filter(|it| services.contains(&it.name));
    let mut wanted: BTreeMap<&str, (Server, Vec<String>)> = BTreeMap::new();
    for known in all.filter(|_| is_cluster) {
        for server in known.servers {
            let of = wanted.entry(server.key()).or_insert((*server, Vec::new()));
            of.1.push(short(known.name));
        }
    }
    let servers = config.servers();
    for (key, (server, who)) in wanted {
        if !server.is_named(&servers) {
            let who = who.join(", ");
            add(
                key,
                format!("is missing: {who} needs {server}, as process.adapters is cluster"),
            );
        }
    }
    if config.registry.kind == RegistryKind::Etcd {
        if config.etcd.endpoints.is_empty() {
            add(
                "etcd.endpoints",
                "is missing: registry.kind is etcd".to_owned(),
            );
        }
        let is_everywhere = |it: &str| it.starts_with("0.0.0.0:") || it.starts_with("[::]:");
        if is_everywhere(&config.peer.listen) && config.peer.advertise.is_empty() {
            let listen = &config.peer.listen;
            add(
                "peer.advertise",
                format!("is missing: others cannot reach this process at {listen}"),
            );
        }
    }
    mistakes
}

/// Each service that these call runs here or stands in the registry: without it the process would be ready and could do nothing.
fn every_need_is_named(
    config: &BaseConfig,
    services: &[&'static str],
    origin: &dyn Fn(&str) -> String,
) -> Vec<Mistake> {
    if config.registry.kind == RegistryKind::Etcd {
        // Whoever is there enters himself.
        return Vec::new();
    }
    let is_missing = |needed: &&service::Known| {
        !services.contains(&needed.name) && !config.registry.services.contains_key(needed.name)
    };
    service::ALL
        .iter()
        .filter(is_missing)
        .filter_map(|needed| {
            let callers = service::ALL
                .iter()
                .filter(|it| services.contains(&it.name) && it.needs.contains(&needed.name));
            let callers = callers.map(|it| short(it.name)).collect::<Vec<_>>().join(", ");
            (!callers.is_empty()).then(|| Mistake {
                origin: origin(REGISTRY),
                key: format!("{REGISTRY}.{}", needed.name),
                message: format!(
                    "is missing: {callers} here, {} not; say where it answers, such as [\"http://127.0.0.1:7301\"], or run it here",
                    short(needed.name)
                ),
            })
        })
        .collect()
}

/// Others answer nobody who does not bear their secret.
fn callers_have_the_secret(
    config: &BaseConfig,
    services: &[&'static str],
    origin: &dyn Fn(&str) -> String,
) -> Option<Mistake> {
    let calls_others = |it: &&service::Known| it.needs.iter().any(|it| !services.contains(it));
    let here = service::ALL.iter().filter(|it| services.contains(&it.name));
    let callers = here.filter(calls_others).map(|it| short(it.name));
    let callers = callers.collect::<Vec<_>>().join(", ");
    let is_missing = !callers.is_empty() && config.peer.secret.expose().is_empty();
    is_missing.then(|| Mistake {
        origin: origin(SECRET),
        key: SECRET.to_owned(),
        message: format!(
            "is missing: {callers} here calls other processes, which answer only who bears it"
        ),
    })
}

/// Where processes speak TLS among themselves they reach each other by https alone, and by http where they do not.
fn schemes_fit_tls(config: &BaseConfig, origin: &dyn Fn(&str) -> String) -> Vec<Mistake> {
    let (wanted, set) = if config.peer.tls.is_on() {
        ("https://", "is set")
    } else {
        ("http://", "is not set")
    };
    let mut mistakes = Vec::new();
    for (service, endpoints) in &config.registry.services {
        for endpoint in endpoints.iter().filter(|it| !it.starts_with(wanted)) {
            let key = format!("{REGISTRY}.{service}");
            mistakes.push(Mistake {
                origin: origin(&key),
                key,
                message: format!("{endpoint} must begin with {wanted}, as peer.tls {set}"),
            });
        }
    }
    mistakes
}

/// As the command line calls a service.
fn short(name: &str) -> String {
    name.strip_prefix("flare-").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests;
