//! All mistakes at once, each with its origin and key.

use std::path::Path;

use flare_server_core::{
    config::{ConfigLoader, Secret},
    process::BaseConfig,
    section,
};

use crate::{Everything, folder, lines};

#[test]
fn five_mistakes_are_five_reports_each_with_file_and_key() {
    let files = folder(&[
        (
            "base.toml",
            "colour = \"red\"\n[gateway]\nidle_ms = \"soon\"\n",
        ),
        (
            "services/gateway.toml",
            "[gateway]\naddress = \"localhost\"\n",
        ),
        ("environments/test.toml", "sample_ratio = 3\n"),
    ]);
    let loader = ConfigLoader::new()
        .folder(files.path())
        .services(["gateway"])
        .environment("test");
    let mistakes = loader
        .variables([("FLARE__STORE", "mysql")])
        .load::<Everything>()
        .unwrap_err();
    assert_eq!(
        lines(&mistakes, files.path()),
        [
            "base.toml: colour: unknown key: known here are gateway, postgres, registry, store, peer_secret, sample_ratio, \
             origins, otlp_endpoint, dev",
            "base.toml: gateway.idle_ms: \"soon\": want a whole number from 0",
            "services/gateway.toml: gateway.address: \"localhost\": want an address and port, such as 127.0.0.1:8080",
            "FLARE__STORE: store: \"mysql\": want one of embedded, postgres",
            "environments/test.toml: sample_ratio: 3: must be from 0 to 1",
        ]
    );
    assert!(
        mistakes
            .to_string()
            .starts_with("5 mistakes in the configuration\n  "),
        "{mistakes}"
    );
}

#[test]
fn a_mistake_counts_even_where_a_later_layer_covers_it() {
    let files = folder(&[("base.toml", "dev = 1\n")]);
    let mistakes = ConfigLoader::new()
        .folder(files.path())
        .overrides(["dev=true"])
        .load::<Everything>()
        .unwrap_err();
    assert_eq!(
        lines(&mistakes, files.path()),
        ["base.toml: dev: 1: want true or false"]
    );
}

#[test]
fn every_kind_of_value_is_checked() {
    let text = "
        dev = \"yes\"
        sample_ratio = nan
        store = 1
        peer_secret = 12345
        origins = [\"a\", 1]
        otlp_endpoint = false
        gateway = 8080
        [postgres.main]
        pool = 70000
        [postgres.other]
        pool = -1
        size = 1
        [registry.static]
        session = \"a:1\"
    ";
    let mistakes = ConfigLoader::new()
        .argument("p", text)
        .load::<Everything>()
        .unwrap_err();
    let mut found = lines(&mistakes, Path::new("-"));
    found.sort();
    assert_eq!(
        found,
        [
            "p: dev: \"yes\": want true or false",
            "p: gateway: 8080: want a table",
            "p: origins.1: 1: want text",
            "p: otlp_endpoint: false: want text",
            "p: peer_secret: a number: want text",
            "p: postgres.main.pool: 70000: want a whole number from 0 to 65535",
            "p: postgres.other.pool: -1: want a whole number from 0 to 65535",
            "p: postgres.other.size: unknown key: known here are url, pool",
            "p: registry.static.session: \"a:1\": want a list, each text",
            "p: sample_ratio: NaN: want a number",
            "p: store: 1: want one of embedded, postgres",
        ]
    );
}

#[test]
fn rules_of_nested_sections_name_the_whole_key() {
    let text = "store = \"postgres\"\n[gateway]\nidle_ms = 5\n[postgres.main]\npool = 0\n";
    let mistakes = ConfigLoader::new()
        .argument("p", text)
        .load::<Everything>()
        .unwrap_err();
    assert_eq!(
        lines(&mistakes, Path::new("-")),
        [
            "p: gateway.idle_ms: 5: must be 100 or more",
            "p: postgres.main.pool: 0: must be above 0"
        ]
    );
    let mistakes = ConfigLoader::new()
        .overrides(["store=postgres"])
        .load::<Everything>()
        .unwrap_err();
    assert_eq!(
        lines(&mistakes, Path::new("-")),
        ["default: postgres: want one when store is postgres"]
    );
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line_and_the_others_are_still_checked() {
    let files = folder(&[
        ("base.toml", "dev = true\nstore = \n"),
        ("services/gateway.toml", "dev = 1\n"),
    ]);
    let mistakes = ConfigLoader::new()
        .folder(files.path())
        .services(["gateway"])
        .load::<Everything>()
        .unwrap_err();
    let found = lines(&mistakes, files.path());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("base.toml: line 2: "), "{found:?}");
    assert_eq!(
        found[1],
        "services/gateway.toml: dev: 1: want true or false"
    );
}

#[test]
fn only_what_was_named_must_be_there() {
    let files = folder(&[]);
    let there = ConfigLoader::new()
        .folder(files.path())
        .services(["gateway"]);
    assert!(there.load::<Everything>().is_ok());
    let mistakes = there
        .environment("production")
        .load::<Everything>()
        .unwrap_err();
    let found = lines(&mistakes, files.path());
    assert!(
        found[0].starts_with("environments/production.toml: cannot be read: "),
        "{found:?}"
    );
    let missing = files.path().join("no");
    assert!(
        ConfigLoader::new()
            .folder_if_present(&missing)
            .load::<Everything>()
            .is_ok()
    );
    let mistakes = ConfigLoader::new()
        .folder(&missing)
        .load::<Everything>()
        .unwrap_err();
    assert_eq!(lines(&mistakes, files.path()), ["no: no such folder"]);
}

#[test]
fn what_is_no_key_or_no_value_is_a_mistake() {
    let mistakes = ConfigLoader::new()
        .variables([
            ("FLARE__", "1"),
            ("FLARE__GATEWAY__", "1"),
            ("FLARE__GATWAY__IDLE_MS", "1"),
            ("FLARE__DEV", "perhaps"),
        ])
        .overrides(["dev", "=1", "a..b=1"])
        .load::<Everything>()
        .unwrap_err();
    let origins: Vec<_> = mistakes.0.iter().map(|it| it.origin.as_str()).collect();
    assert_eq!(
        origins,
        [
            "FLARE__",
            "FLARE__DEV",
            "FLARE__GATEWAY__",
            "FLARE__GATWAY__IDLE_MS",
            "argument dev",
            "argument ",
            "argument a..b",
        ]
    );
    assert!(
        mistakes.0[3].message.starts_with("unknown key"),
        "{mistakes}"
    );
}

section! {
    /// With a secret in the code.
    pub struct Leaky {
        /// Known to every reader.
        pub password: Secret = Secret::new("hunter2"),
    }
}

#[test]
fn a_secret_in_the_code_is_refused() {
    let mistakes = ConfigLoader::new().load::<Leaky>().unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "1 mistake in the configuration\n  default: password: a secret has no default"
    );
}

#[test]
fn consul_is_refused_by_what_to_do_instead() {
    let loader = ConfigLoader::new().variables([
        ("CONSUL_ENDPOINTS", "http://localhost:28500"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
    ]);
    let mistakes = loader.load::<BaseConfig>().unwrap_err().0;
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    let consul = mistakes
        .iter()
        .find(|it| it.origin == "CONSUL_ENDPOINTS")
        .unwrap();
    assert_eq!(consul.key, "registry.kind");
    for said in ["Consul", "unset it", "static, dns or etcd"] {
        assert!(consul.message.contains(said), "{}", consul.message);
    }
    let kafka = mistakes
        .iter()
        .find(|it| it.origin == "KAFKA_BOOTSTRAP_SERVERS")
        .unwrap();
    assert_eq!(kafka.key, "kafka.bootstrap_servers");
    assert!(kafka.message.contains("host:port"), "{}", kafka.message);
}

#[test]
fn further_rules_say_nothing_of_what_is_wrong_already() {
    let asked = |text: &str| {
        let files = folder(&[("base.toml", text)]);
        let loader = ConfigLoader::new().folder(files.path());
        let found = loader.load_checked::<Everything>(|_, origin| {
            let at = |key: &str| flare_server_core::config::Mistake {
                origin: origin(key),
                key: key.to_owned(),
                message: "is missing".to_owned(),
            };
            vec![at("origins"), at("gateway.idle_ms")]
        });
        lines(&found.unwrap_err(), files.path())
    };
    assert_eq!(
        asked("[gateway]\nidle_ms = 500\n"),
        [
            "default: origins: is missing",
            "base.toml: gateway.idle_ms: is missing",
        ]
    );
    assert_eq!(
        asked("origins = [1]\n"),
        [
            "base.toml: origins.0: 1: want text",
            "default: gateway.idle_ms: is missing",
        ]
    );
    assert_eq!(asked("origins = \n").len(), 1, "nobody knows what it says");
}
