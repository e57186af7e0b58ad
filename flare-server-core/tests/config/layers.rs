//! Which layer goes over which, and how each is read.

use std::net::SocketAddr;

use flare_server_core::{config::ConfigLoader, process::BaseConfig};

use crate::{Everything, folder};

#[test]
fn nothing_given_is_the_defaults() {
    let loaded = ConfigLoader::new().load::<Everything>().unwrap();
    assert_eq!(loaded.config, Everything::default());
    assert_eq!(loaded.origin("gateway.idle_ms").as_deref(), Some("default"));
}

#[test]
fn each_layer_goes_over_the_one_before() {
    let files = folder(&[
        (
            "base.toml",
            "sample_ratio = 0.1\ndev = true\norigins = [\"a\"]\nstore = \"embedded\"\n[gateway]\nidle_ms = 1000\n",
        ),
        (
            "services/gateway.toml",
            "sample_ratio = 0.2\ndev = true\norigins = [\"b\"]\n",
        ),
        ("services/session.toml", "sample_ratio = 0.25\n"),
        ("services/other.toml", "sample_ratio = 0.9\n"),
        (
            "environments/production.toml",
            "dev = false\norigins = [\"c\", \"d\"]\n",
        ),
    ]);
    let loader = ConfigLoader::new()
        .folder(files.path())
        .services(["gateway", "session"])
        .environment("production")
        .variables([
            ("FLARE__ORIGINS", "e, f"),
            ("FLARE__GATEWAY__ADDRESS", "0.0.0.0:1"),
            ("PATH", "/bin"),
        ]);
    let loaded = loader
        .clone()
        .overrides([
            "origins=[\"g\"]",
            "otlp_endpoint=http://c:4317",
            "peer_secret=set",
        ])
        .argument("--secret", "peer_secret = \"argument\"\n")
        .load::<Everything>()
        .unwrap();
    let config = &loaded.config;
    assert_eq!(config.gateway.idle_ms, 1_000, "base over default");
    assert_eq!(
        config.sample_ratio, 0.25,
        "the later service over the earlier, over base"
    );
    assert!(!config.dev, "environment over service");
    assert_eq!(
        config.gateway.address,
        SocketAddr::from(([0, 0, 0, 0], 1)),
        "variable over default"
    );
    assert_eq!(config.origins, ["g"], "argument over variable");
    assert_eq!(config.otlp_endpoint.as_deref(), Some("http://c:4317"));
    assert_eq!(
        config.peer_secret.expose(),
        "argument",
        "an argument of its own over everything"
    );
    assert_eq!(loaded.origin("peer_secret").as_deref(), Some("--secret"));
    assert_eq!(
        loader.load::<Everything>().unwrap().config.origins,
        ["e", "f"],
        "variable over environment"
    );
    assert_eq!(
        loaded.origin("origins").as_deref(),
        Some("argument origins")
    );
    assert_eq!(
        loaded.origin("gateway.address").as_deref(),
        Some("FLARE__GATEWAY__ADDRESS")
    );
    assert!(
        loaded
            .origin("dev")
            .unwrap()
            .ends_with("environments/production.toml")
    );
    assert_eq!(loaded.origin("nothing"), None);
}

#[test]
fn part_of_a_section_keeps_the_rest_of_what_its_parent_chose() {
    let loaded = ConfigLoader::new()
        .overrides(["gateway.address=0.0.0.0:1"])
        .load::<Everything>()
        .unwrap();
    assert_eq!(loaded.config.gateway.idle_ms, 60_000);
}

#[test]
fn variables_and_arguments_are_read_as_their_key_says() {
    let loaded = ConfigLoader::new()
        .variables([
            ("FLARE__PEER_SECRET", "007"),
            ("FLARE__POSTGRES__MAIN__POOL", "9"),
            ("FLARE__DEV", "true"),
        ])
        .overrides([
            "registry.static.session=http://a:1, http://b:2",
            "sample_ratio=1",
            "gateway.idle_ms = 500",
        ])
        .load::<Everything>()
        .unwrap();
    assert_eq!(
        loaded.config.peer_secret.expose(),
        "007",
        "text stays as it is written"
    );
    assert_eq!(loaded.config.postgres["main"].pool, 9);
    assert!(loaded.config.dev);
    assert_eq!(
        loaded.config.registry.r#static["session"],
        ["http://a:1", "http://b:2"]
    );
    assert_eq!(loaded.config.sample_ratio, 1.0);
    assert_eq!(loaded.config.gateway.idle_ms, 500);
}

#[test]
fn sections_of_services_that_run_elsewhere_are_passed_over() {
    let loader = ConfigLoader::new()
        .argument("p", "[push]\nworkers = 3\n")
        .variables([("FLARE__PUSH__WORKERS", "4")])
        .elsewhere(["push"]);
    assert!(loader.load::<Everything>().is_ok());
    assert!(loader.elsewhere(["session"]).load::<Everything>().is_err());
}

#[test]
fn names_that_are_not_ours_are_passed_over() {
    let loader = ConfigLoader::new().variables([("FLARE_LOG", "x"), ("OTHER__DEV", "1")]);
    assert!(loader.load::<Everything>().is_ok());
}

#[test]
fn brokers_may_be_named_as_other_software_names_them() {
    let loader = ConfigLoader::new().variables([("KAFKA_BOOTSTRAP_SERVERS", "a:9092, b:9092")]);
    let loaded = loader.load::<BaseConfig>().unwrap();
    assert_eq!(loaded.config.kafka.bootstrap_servers, ["a:9092", "b:9092"]);
    assert_eq!(
        loaded.origin("kafka.bootstrap_servers").as_deref(),
        Some("KAFKA_BOOTSTRAP_SERVERS")
    );
    let loader = ConfigLoader::new().variables([
        ("KAFKA_BOOTSTRAP_SERVERS", "a:9092"),
        ("FLARE__KAFKA__BOOTSTRAP_SERVERS", "c:9092"),
    ]);
    let loaded = loader.load::<BaseConfig>().unwrap();
    assert_eq!(
        loaded.config.kafka.bootstrap_servers,
        ["c:9092"],
        "our own name counts for more"
    );
}
