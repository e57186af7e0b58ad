//! The binary of a service, as an operator meets it before anything runs: its help, its configuration, and what it says when that is wrong. Each service's
//! crate has this test, of its own binary.

#![expect(clippy::expect_used, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flare_server_core::registry::service::{self, Known};
use tempfile::TempDir;

const NAME: &str = env!("CARGO_PKG_NAME");
const BINARY: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "not-to-be-seen";

/// Every server of a cluster, and the secret.
const SETTINGS: [(&str, &str); 5] = [
    ("FLARE__KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:29092"),
    (
        "FLARE__POSTGRES__URL",
        "postgres://flare:not-to-be-seen@127.0.0.1:25432/flare",
    ),
    (
        "FLARE__REDIS__URL",
        "redis://:not-to-be-seen@127.0.0.1:26379",
    ),
    ("FLARE__ETCD__ENDPOINTS", "http://127.0.0.1:2379"),
    ("FLARE__PEER__SECRET", SECRET),
];

/// How a run of the binary ended.
struct Ended {
    succeeded: bool,
    printed: String,
    said: String,
}

impl Ended {
    fn good(self) -> String {
        assert!(self.succeeded, "{}", self.said);
        self.printed
    }

    /// What it says of its failure: by its name, and as it is for people.
    fn refused(self) -> String {
        assert!(!self.succeeded, "it went well: {}", self.printed);
        assert_eq!(self.printed, "", "{}", self.said);
        assert!(!self.said.contains("panicked"), "{}", self.said);
        self.said
    }
}

/// Runs the binary in an empty folder, with nothing in its environment but `variables`.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let done = Command::new(BINARY)
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        succeeded: done.status.success(),
        printed: text(done.stdout),
        said: text(done.stderr),
    }
}

fn known() -> &'static Known {
    service::known(NAME).expect("the crate bears its service's name")
}

/// The samples of the repository.
fn samples() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here
        .ancestors()
        .find(|it| it.join("Cargo.lock").exists())
        .expect("a workspace");
    root.join("config")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A folder of configuration with these files.
fn config(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        let parent = file.parent().expect("a folder");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(file, text).expect("written");
    }
    folder
}

#[test]
fn help_says_what_it_does_and_what_it_takes() {
    let help = run(&["--help"], &[]).good();
    assert!(help.contains(&format!("Usage: {NAME} [OPTIONS]")), "{help}");
    for argument in [
        "--data",
        "--config",
        "--environment",
        "--set",
        "--check-config",
        "--print-config",
        "--json",
    ] {
        assert!(help.contains(argument), "{argument} is not in {help}");
    }
    let version = run(&["--version"], &[]).good();
    assert_eq!(
        version.trim(),
        format!("{NAME} {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_samples_are_good_in_every_environment() {
    let folder = samples();
    let folder = text(&folder);
    let environments = std::fs::read_dir(format!("{folder}/environments")).expect("a folder");
    let mut words: Vec<Vec<String>> = vec![Vec::new()];
    for entry in environments {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|it| it.to_str()).expect("a name");
        words.push(vec!["--environment".to_owned(), name.to_owned()]);
    }
    assert!(words.len() > 2, "{words:?}");
    for words in words {
        let mut arguments = vec!["--check-config", "--config", folder];
        arguments.extend(words.iter().map(String::as_str));
        let said = run(&arguments, &SETTINGS).good();
        assert_eq!(said.trim(), "the configuration is good", "{words:?}");
    }
}

#[test]
fn the_configuration_is_printed_with_origins_and_without_secrets() {
    let variables = [
        &[("KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:9092")],
        &SETTINGS[1..],
    ]
    .concat();
    let printed = run(&["--print-config"], &variables).good();
    let known = known();
    for line in [
        format!("adapters = \"cluster\" # {NAME}"),
        format!("ops_listen = \"127.0.0.1:{}\" # {NAME}", known.ops_port),
        format!("kind = \"etcd\" # {NAME}"),
        "bootstrap_servers = [\"one:9092\", \"two:9092\"] # KAFKA_BOOTSTRAP_SERVERS".to_owned(),
    ] {
        assert!(printed.lines().any(|it| it == line), "{line}: {printed}");
    }
    if let Some(port) = known.peer_port {
        let line = format!("listen = \"127.0.0.1:{port}\" # {NAME}");
        assert!(printed.lines().any(|it| it == line), "{line}: {printed}");
    }
    assert!(
        printed.contains(&format!("[{}]", known.section)),
        "{printed}"
    );
    for secret in [SECRET, PASSWORD] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    let said = run(&["--check-config"], &[]).refused();
    let known = known();
    let mut wanted: Vec<&str> = known.servers.iter().map(|it| it.key()).collect();
    wanted.extend(["etcd.endpoints", "peer.secret"]);
    for key in &wanted {
        assert!(said.contains(&format!("{key}: is")), "{key}: {said}");
    }
    let head = format!("{NAME}: {} mistakes in the configuration", wanted.len());
    assert_eq!(said.lines().next(), Some(head.as_str()), "{said}");
    assert_eq!(said.lines().count(), 1 + wanted.len(), "{said}");
    // A start says the same, and does no more.
    assert_eq!(run(&[], &[]).refused(), said);
}

#[test]
fn a_mistake_is_named_with_its_file_and_key() {
    let service = format!("services/{NAME}.toml");
    let own = format!("[{}]\nno_such_key = 1\n", known().section);
    let folder = config(&[
        ("base.toml", "[kafka]\npartitions = \"many\"\n"),
        (&service, &own),
        ("services/flare-other.toml", "no_such_section = 1\n"),
    ]);
    let folder = text(folder.path());
    let said = run(&["--check-config", "--config", folder], &SETTINGS).refused();
    let section = known().section;
    for line in [
        format!("{folder}/base.toml: kafka.partitions: \"many\": want a whole number"),
        format!("{folder}/{service}: {section}.no_such_key: unknown key"),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn consul_is_refused_by_what_to_do_instead() {
    let variables = [
        &[("CONSUL_ENDPOINTS", "http://localhost:28500")],
        &SETTINGS[..],
    ]
    .concat();
    let said = run(&["--check-config"], &variables).refused();
    assert!(said.contains("CONSUL_ENDPOINTS: registry.kind: "), "{said}");
    assert!(
        said.contains("set registry.kind to static, dns or etcd"),
        "{said}"
    );
}

/// It comes as far as its listeners, and no further.
#[test]
fn rust_log_says_what_is_logged() {
    let nowhere = ["--set", "process.ops_listen=256.0.0.1:1"];
    let start = |level: &str| {
        let variables = [&[("RUST_LOG", level)], &SETTINGS[..]].concat();
        run(&nowhere, &variables).refused()
    };
    let debug = start("debug");
    assert!(debug.contains("open files"), "{debug}");
    let off = start("off");
    assert!(off.starts_with(&format!("{NAME}: ")), "{off}");
    assert!(off.contains("256.0.0.1:1"), "{off}");
    assert_eq!(off.lines().count(), 1, "{off}");
    let wrong = start("flare=loudest");
    assert!(wrong.contains("log level \"flare=loudest\""), "{wrong}");
}
