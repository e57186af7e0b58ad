//! Each service, alone and beside others, with what it needs and without.

use super::*;
use crate::config::{ConfigLoader, Loaded};

const SECRET_SET: &str = "peer.secret=0123456789abcdef0123456789abcdef";

fn all() -> Vec<&'static str> {
    service::ALL.iter().map(|it| it.name).collect()
}

/// The keys at which something is wrong, each with what.
fn found(services: &[&'static str], set: &[&str]) -> Vec<(String, String)> {
    let loaded: Result<Loaded<BaseConfig>, _> = ConfigLoader::new()
        .overrides(set.iter().copied())
        .load_checked(|config, origin| mistakes(config, services, origin));
    let mistakes = loaded.err().map_or_else(Vec::new, |it| it.0);
    mistakes
        .into_iter()
        .map(|it| (it.key, it.message))
        .collect()
}

fn keys(services: &[&'static str], set: &[&str]) -> Vec<String> {
    found(services, set).into_iter().map(|it| it.0).collect()
}

#[test]
fn what_a_service_calls_runs_beside_it_or_is_named() {
    assert_eq!(keys(&all(), &[]), [""; 0]);
    assert_eq!(keys(&[service::STORAGE_WRITER], &[]), [""; 0]);
    let alone = found(&[service::ORCHESTRATOR], &[SECRET_SET]);
    assert_eq!(alone.len(), 2, "{alone:?}");
    for ((key, message), missing) in alone.iter().zip(["flare-signaling-route", "flare-session"]) {
        assert_eq!(*key, format!("registry.services.{missing}"));
        assert!(
            message.starts_with("is missing: message-orchestrator here"),
            "{message}"
        );
    }
    let named = |it| format!("registry.services.{it}=[\"http://127.0.0.1:7301\"]");
    let both = [named(service::ROUTE), named(service::SESSION)];
    let set = [SECRET_SET, &both[0], &both[1]];
    assert_eq!(keys(&[service::ORCHESTRATOR], &set), [""; 0]);
    let two = keys(&[service::ORCHESTRATOR, service::SESSION], &[SECRET_SET]);
    assert_eq!(
        two,
        [
            "registry.services.flare-storage-reader",
            "registry.services.flare-signaling-route",
            "registry.services.flare-push-server",
        ]
    );
}

#[test]
fn the_registry_knows_services_and_where_they_answer() {
    for wrong in [
        "registry.services.flare-sessions=[\"http://127.0.0.1:7301\"]",
        "registry.services.flare-session=[]",
        "registry.services.flare-session=[\"127.0.0.1:7301\"]",
    ] {
        let refused = keys(&all(), &[wrong]);
        assert!(
            refused
                .iter()
                .any(|it| it.starts_with("registry.services.flare-session")),
            "{wrong}: {refused:?}"
        );
    }
}

#[test]
fn who_calls_other_processes_bears_their_secret() {
    let route = "registry.services.flare-signaling-route=[\"http://127.0.0.1:7301\"]";
    let session = "registry.services.flare-session=[\"http://127.0.0.1:7301\"]";
    let without = found(&[service::ORCHESTRATOR], &[route, session]);
    assert_eq!(without.len(), 1, "{without:?}");
    assert_eq!(without[0].0, "peer.secret");
    assert!(without[0].1.contains("message-orchestrator"), "{without:?}");
    // Once is enough where it is to listen, too.
    let listens = [route, session, "peer.listen=127.0.0.1:0"];
    assert_eq!(keys(&[service::ORCHESTRATOR], &listens), ["peer.secret"]);
    // Nobody is called.
    assert_eq!(keys(&[service::ROUTE], &[]), [""; 0]);
}

#[test]
fn nothing_follows_from_what_could_not_be_read() {
    let set = ["registry.services.flare-session=7", SECRET_SET];
    let found = found(&[service::ACCESS_GATEWAY, service::ORCHESTRATOR], &set);
    let of_it = found
        .iter()
        .filter(|it| it.0 == "registry.services.flare-session");
    assert_eq!(of_it.count(), 1, "{found:?}");
    assert!(found.len() > 1, "{found:?}");
}

#[cfg(not(feature = "cluster"))]
#[test]
fn a_build_without_adapters_of_a_cluster_says_so() {
    let set = ["process.adapters=cluster", "registry.kind=etcd"];
    let found = found(&[service::STORAGE_WRITER], &set);
    for key in ["process.adapters", "registry.kind"] {
        let told = found.iter().find(|it| it.0 == key);
        let told = told.unwrap_or_else(|| panic!("{key} is taken: {found:?}"));
        assert!(told.1.contains("feature `cluster`"), "{}", told.1);
    }
}

#[cfg(feature = "cluster")]
mod cluster {
    use super::*;

    const CLUSTER: &str = "process.adapters=cluster";
    const ETCD: &str = "registry.kind=etcd";
    const ETCD_NAMED: &str = "etcd.endpoints=http://127.0.0.1:2379";
    /// As the architecture says who stands on what.
    const STANDS_ON: [(&str, &[&str]); 9] = [
        (service::STORAGE_WRITER, &[KAFKA, POSTGRES]),
        (service::STORAGE_READER, &[POSTGRES]),
        (service::ONLINE, &[POSTGRES, REDIS]),
        (service::ROUTE, &[]),
        (service::ORCHESTRATOR, &[KAFKA, POSTGRES]),
        (service::SESSION, &[KAFKA, POSTGRES]),
        (service::PUSH_SERVER, &[KAFKA]),
        (service::ACCESS_GATEWAY, &[]),
        (service::CORE_GATEWAY, &[POSTGRES]),
    ];
    const KAFKA: &str = "kafka.bootstrap_servers";
    const POSTGRES: &str = "postgres.url";
    const REDIS: &str = "redis.url";
    const NAMED: [&str; 3] = [
        "kafka.bootstrap_servers=127.0.0.1:9092",
        "postgres.url=postgres://postgres@127.0.0.1:5432/postgres",
        "redis.url=redis://127.0.0.1:6379",
    ];

    #[test]
    fn each_service_is_told_of_its_own_servers_alone() {
        assert_eq!(STANDS_ON.len(), service::ALL.len());
        for (name, servers) in STANDS_ON {
            let set = [CLUSTER, ETCD, ETCD_NAMED, SECRET_SET];
            assert_eq!(keys(&[name], &set), servers, "{name}");
            let set = [&set[..], &NAMED[..]].concat();
            assert_eq!(keys(&[name], &set), [""; 0], "{name}");
            // Embedded it stands on none of them.
            assert_eq!(keys(&[name], &[ETCD, ETCD_NAMED, SECRET_SET]), [""; 0]);
        }
    }

    #[test]
    fn all_that_is_missing_is_told_at_once_with_who_needs_it() {
        let services = [service::ONLINE, service::ORCHESTRATOR, service::SESSION];
        let found = found(&services, &[CLUSTER, ETCD, "peer.listen=0.0.0.0:50055"]);
        let expected = [
            ("peer.secret", "where listen is set"),
            (KAFKA, "message-orchestrator, session needs Kafka"),
            (
                POSTGRES,
                "signaling-online, message-orchestrator, session needs PostgreSQL",
            ),
            (REDIS, "signaling-online needs Redis"),
            ("etcd.endpoints", "registry.kind is etcd"),
            (
                "peer.advertise",
                "cannot reach this process at 0.0.0.0:50055",
            ),
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((key, message), (wanted, why)) in found.iter().zip(expected) {
            assert_eq!(key, wanted);
            assert!(message.contains(why), "{key}: {message}");
        }
    }

    #[test]
    fn whoever_is_found_by_etcd_is_named_nowhere() {
        let set = [ETCD, ETCD_NAMED, SECRET_SET];
        assert_eq!(keys(&[service::ACCESS_GATEWAY], &set), [""; 0]);
        let found = keys(
            &[service::ACCESS_GATEWAY],
            &["registry.kind=dns", SECRET_SET],
        );
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(
            found.iter().all(|it| it.starts_with("registry.services.")),
            "{found:?}"
        );
    }
}
