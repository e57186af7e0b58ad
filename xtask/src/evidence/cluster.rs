//! The faults of a cluster.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::steps::Ground;

/// Every fault against two processes of each service, on servers of this run alone, Kafka with three nodes; all as built for tests.
pub(super) fn faults(ground: &Ground) -> anyhow::Result<Value> {
    let servers = Servers::start(ground)?;
    let binaries = [
        "build",
        "--workspace",
        "--bins",
        "--features",
        "server-tests",
    ];
    ground.cargo(&binaries, &[])?;
    let lines = ground.folder.join("cluster.jsonl");
    let _ = fs::remove_file(&lines);
    let which = if ground.quick {
        "faults::owner_killed"
    } else {
        "faults::"
    };
    // The shell reads where the servers are.
    let tests = [
        "test",
        "--workspace",
        "--features",
        "server-tests",
        "--test",
        "integration",
        "--",
        "--deployment",
        "cluster",
        "--campaign",
        "--json",
        lines.to_str().context("no UTF-8")?,
        which,
    ];
    let shell = ["-c", ". \"$0\" && exec cargo \"$@\"", &servers.variables()?];
    ground.run("sh", &[&shell[..], &tests[..]].concat(), &[])?;
    let text = fs::read_to_string(&lines).context("no fault was told")?;
    let faults: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(!faults.is_empty(), "no fault was told");
    Ok(json!({ "faults": faults }))
}

/// This program, also after cargo has put another in its place.
const OURSELVES: &str = "/proc/self/exe";

/// The servers of the run; they stop with this value.
struct Servers<'a> {
    ground: &'a Ground,
    place: PathBuf,
}

impl<'a> Servers<'a> {
    fn start(ground: &'a Ground) -> anyhow::Result<Self> {
        let place = ground.folder.join("infra");
        let servers = Self { ground, place };
        servers.infra(&["up", "--kafka-nodes", "3"])?;
        Ok(servers)
    }

    fn infra(&self, action: &[&str]) -> anyhow::Result<()> {
        let place = self.place.to_str().context("no UTF-8")?;
        let arguments = [&["infra", "--at", place], action].concat();
        self.ground.run(OURSELVES, &arguments, &[])
    }

    /// The file that says where they are.
    fn variables(&self) -> anyhow::Result<String> {
        let file = self.place.join("env");
        Ok(file.to_str().context("no UTF-8")?.to_owned())
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.infra(&["down"]) {
            eprintln!("the servers of the cluster may still run: {error:#}");
        }
    }
}
