//! The configuration as a process sees it: files, variables and arguments in, a struct or all mistakes out.

#![expect(clippy::unwrap_used, reason = "tests")]

mod layers;
mod mistakes;
mod shown;

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use flare_server_core::{
    config::{ConfigMistakes, Secret},
    section,
};
use tempfile::TempDir;

flare_server_core::choice! {
    /// Where rows go.
    pub(crate) enum Store {
        /// A folder.
        Embedded = "embedded",
        /// A server.
        Postgres = "postgres",
    }
}

section! {
    /// A port.
    pub(crate) struct Listen {
        /// Where it listens.
        pub(crate) address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// An idle connection is closed after this.
        pub(crate) idle_ms: u64 = 30_000,
    }
    validate(listen, at) {
        at.require(listen.idle_ms >= 100, "idle_ms", "must be 100 or more");
    }
}

section! {
    /// One of several shared connections.
    pub(crate) struct Profile {
        /// Where it is.
        pub(crate) url: Secret = Secret::default(),
        /// Connections at most.
        pub(crate) pool: u16 = 4,
    }
    validate(profile, at) {
        at.require(profile.pool > 0, "pool", "must be above 0");
    }
}

section! {
    /// Other processes.
    pub(crate) struct Registry {
        /// Endpoints by service.
        pub(crate) r#static: BTreeMap<String, Vec<String>> = BTreeMap::new(),
    }
}

section! {
    /// All of it.
    pub(crate) struct Everything {
        /// Of the gateway.
        pub(crate) gateway: Listen = Listen { idle_ms: 60_000, ..Listen::default() },
        /// By name.
        pub(crate) postgres: BTreeMap<String, Profile> = BTreeMap::new(),
        /// Found how.
        pub(crate) registry: Registry = Registry::default(),
        /// Kept where.
        pub(crate) store: Store = Store::Embedded,
        /// Of | all.
        pub(crate) peer_secret: Secret = Secret::default(),
        /// How much.
        pub(crate) sample_ratio: f64 = 0.01,
        /// Who may.
        pub(crate) origins: Vec<String> = Vec::new(),
        /// Where spans go.
        pub(crate) otlp_endpoint: Option<String> = None,
        /// Whether.
        pub(crate) dev: bool = false,
    }
    validate(all, at) {
        at.require((0.0..=1.0).contains(&all.sample_ratio), "sample_ratio", "must be from 0 to 1");
        at.require(all.store == Store::Embedded || !all.postgres.is_empty(), "postgres", "want one when store is postgres");
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The mistakes' lines, with the folder's path cut off.
fn lines(mistakes: &ConfigMistakes, folder: &Path) -> Vec<String> {
    let root = format!("{}/", folder.display());
    mistakes
        .0
        .iter()
        .map(|it| it.to_string().replace(&root, ""))
        .collect()
}
