//! Processes that cannot start: each says why, and leaves what is there alone.

use std::{net::TcpListener, process::Stdio, time::Duration};

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::surfaces::server::{Server, flare, run};

/// What is not said by then will not be said.
const SAID_WITHIN: Duration = Duration::from_secs(30);

/// What a process said that ended in failure.
fn refused(arguments: &[&str], folder: &std::path::Path) -> String {
    let done = run(arguments, folder).expect("the binary runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success(),
        "{arguments:?} went well: {}",
        String::from_utf8_lossy(&done.stdout)
    );
    assert!(
        done.stdout.is_empty(),
        "said to be ready: {}",
        String::from_utf8_lossy(&done.stdout)
    );
    said
}

#[test]
fn a_port_in_use_is_named_and_nothing_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let listeners = [
        "core_gateway.listen",
        "access_gateway.listen",
        "process.ops_listen",
    ];
    for listener in listeners {
        let settings = listeners.map(|it| {
            if it == listener {
                format!("{it}={address}")
            } else {
                format!("{it}=127.0.0.1:0")
            }
        });
        let set = settings.iter().flat_map(|it| ["--set", it.as_str()]);
        let arguments: Vec<_> = ["up", "--json", "--ephemeral"]
            .into_iter()
            .chain(set)
            .collect();
        let said = refused(&arguments, folder.path());
        let port = format!("port {} is in use by another process", address.port());
        assert!(
            said.contains(&port) && said.contains(&address.to_string()),
            "{listener}: {said}"
        );
    }
}

#[test]
fn a_second_process_on_a_data_folder_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let mut first = Server::start(&["--data", data], folder.path()).expect("starts");
    let said = refused(
        &["up", "--json", "--listen", "127.0.0.1:0", "--data", data],
        folder.path(),
    );
    assert!(said.contains(data) && said.contains("is in use"), "{said}");
    assert!(first.runs());
    let verified = run(&["verify", "--data", data], folder.path()).expect("the binary runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        !verified.status.success() && said.contains("is in use"),
        "{said}"
    );
    drop(first);
    let again = Server::start(&["--data", data], folder.path());
    assert!(again.is_ok(), "the folder is whole: {:?}", again.err());
}

#[test]
fn five_mistakes_of_a_configuration_are_reported_at_once_each_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config");
    std::fs::create_dir_all(config.join("services")).expect("a folder");
    let base = "[process]\ndrain_ms = \"soon\"\ncolour = \"red\"\n\n[identity]\ntenants = [\"No Tenant\"]\n";
    std::fs::write(config.join("base.toml"), base).expect("writes");
    let service = "[core_gateway]\nmax_mentions = 100000\n";
    std::fs::write(
        config.join("services").join("flare-core-gateway.toml"),
        service,
    )
    .expect("writes");
    let config = config.to_str().expect("UTF-8");
    let set = "access_gateway.max_calls=0";
    let said = refused(
        &["config", "check", "--config", config, "--set", set],
        folder.path(),
    );
    let places = [
        ("base.toml", "process.drain_ms"),
        ("base.toml", "process.colour"),
        ("base.toml", "identity.tenants.0"),
        ("flare-core-gateway.toml", "core_gateway.max_mentions"),
        ("argument", "access_gateway.max_calls"),
    ];
    assert_eq!(
        said.lines().filter(|it| it.starts_with("  ")).count(),
        places.len(),
        "{said}"
    );
    for (file, key) in places {
        let named = said.lines().any(|it| it.contains(file) && it.contains(key));
        assert!(named, "{key} of {file} is not named:\n{said}");
    }
}

/// A disk without room takes no conversation, so a folder that is new cannot be made ready.
#[test]
fn a_fresh_start_on_a_full_disk_ends_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [
        "up",
        "--json",
        "--ephemeral",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "log.min_free_bytes=9000000000000000000",
    ];
    let said = refused(&arguments, folder.path());
    assert!(said.contains("the disk has no room for messages"), "{said}");
}

/// Another program writes to the conversations' database, as one that restores it does: the session waits for its turn.
#[tokio::test]
async fn a_start_that_has_to_wait_says_for_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let session = folder.path().join("session");
    std::fs::create_dir(&session).expect("a folder");
    let options = SqliteConnectOptions::new()
        .filename(session.join("session.sqlite"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let mut database = SqliteConnection::connect_with(&options)
        .await
        .expect("a database");
    let writing = database
        .begin_with("BEGIN IMMEDIATE")
        .await
        .expect("nobody else writes");
    let data = folder.path().to_str().expect("UTF-8");
    let arguments = ["up", "--json", "--listen", "127.0.0.1:0", "--data", data];
    let mut process = Command::from(flare(&arguments, folder.path()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
    let mut all = String::new();
    let explained = loop {
        match timeout(SAID_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.contains("still starting") => break line,
            Ok(Ok(Some(line))) => all.push_str(&line),
            ended => panic!("{ended:?} after {all}"),
        }
    };
    drop(writing);
    assert!(explained.contains("flare-session"), "{explained}");
}
