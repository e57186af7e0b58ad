//! What can be started, and what each of them owes to the rest.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{
    etcd::Etcd, install::Package, kafka::Kafka, launch::Planned, place::Place, postgres::Postgres,
    redis::Redis, toxiproxy::Toxiproxy,
};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Component {
    Kafka,
    Postgres,
    Redis,
    Etcd,
    Toxiproxy,
}

/// Where and how much is to be started.
pub(super) struct Wish<'a> {
    pub(super) place: &'a Place,
    pub(super) kafka_nodes: usize,
    /// In MiB.
    pub(super) kafka_heap: Option<u32>,
}

/// How a component is installed, started and asked.
pub(super) trait Recipe: Sync {
    /// What the product uses it for.
    fn purpose(&self) -> &'static str;

    /// Schemes of the addresses by which it may be named as a whole.
    fn schemes(&self) -> &'static [&'static str];

    /// What tests are told of it: the value of its variable.
    fn value(&self, addresses: &[&str]) -> String;

    /// Packages of the system that it needs and that are not here.
    fn missing(&self, tools: &Path) -> Vec<Package>;

    /// Installs what no package has, if it is not here yet. The packages are.
    fn install(&self, _tools: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    /// Where it is installed, for tests that start servers of their own.
    fn home(&self, _tools: &Path) -> Option<PathBuf> {
        None
    }

    /// Its servers, to be started with fresh data.
    fn plan(&self, wish: &Wish<'_>) -> anyhow::Result<Vec<Planned>>;

    /// Asks once, by its own protocol. Its version, if it tells one.
    ///
    /// # Errors
    /// It does not answer, or not as one that is ready.
    fn ask(&self, value: &str) -> anyhow::Result<Option<String>>;

    /// Asks one of our servers, which is ready only with as many of its kind.
    fn ask_with(&self, address: &str, _together: usize) -> anyhow::Result<Option<String>> {
        self.ask(&self.value(&[address]))
    }
}

impl Component {
    pub(super) const ALL: [Self; 5] = [
        Self::Kafka,
        Self::Postgres,
        Self::Redis,
        Self::Etcd,
        Self::Toxiproxy,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::Toxiproxy => "toxiproxy",
        }
    }

    /// The variable by which tests find it.
    pub(super) fn variable(self) -> String {
        format!("FLARE_TEST_{}", self.name().to_ascii_uppercase())
    }

    /// The variable by which services find it; it bears the same value. None: no service knows of it.
    pub(super) fn setting(self) -> Option<&'static str> {
        match self {
            Self::Kafka => Some("FLARE__KAFKA__BOOTSTRAP_SERVERS"),
            Self::Postgres => Some("FLARE__POSTGRES__URL"),
            Self::Redis => Some("FLARE__REDIS__URL"),
            Self::Etcd => Some("FLARE__ETCD__ENDPOINTS"),
            Self::Toxiproxy => None,
        }
    }

    pub(super) fn recipe(self) -> &'static dyn Recipe {
        match self {
            Self::Kafka => &Kafka,
            Self::Postgres => &Postgres,
            Self::Redis => &Redis,
            Self::Etcd => &Etcd,
            Self::Toxiproxy => &Toxiproxy,
        }
    }
}
