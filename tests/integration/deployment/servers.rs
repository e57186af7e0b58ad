//! The servers that a cluster stands on: real ones, which deployments share and do not see each other in.

use std::path::Path;

use anyhow::Context;

use super::Deployment;
use crate::{environment::named, process};

/// Partitions of the log, and of the stream.
pub(super) const PARTITIONS: u32 = 8;

/// What a deployment is told of them.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    /// Begins all names of the deployment's own.
    pub(crate) name: String,
    /// The brokers, divided by commas.
    pub(crate) kafka: String,
    pub(crate) postgres: String,
    pub(crate) redis: String,
    pub(crate) etcd: String,
}

impl Deployment {
    /// What a cluster stands on, as its processes reach it.
    pub(crate) fn servers(&self) -> anyhow::Result<&Servers> {
        let servers = self.beside.servers.as_ref();
        servers.context("only a cluster stands on servers")
    }
}

impl Servers {
    /// How many nodes Kafka has.
    pub(crate) fn kafka_nodes(&self) -> usize {
        self.kafka.split(',').count()
    }

    /// Those that the environment names, with names of the deployment's own that follow from its folder.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Self> {
        let name = folder.file_name().and_then(|it| it.to_str());
        let name = name.context("a folder without a name")?.to_lowercase();
        let name = name.rsplit(['-', '_']).next().unwrap_or_default();
        Ok(Self {
            name: format!("t{name}"),
            kafka: named("FLARE_TEST_KAFKA")?,
            postgres: named("FLARE_TEST_POSTGRES")?,
            redis: named("FLARE_TEST_REDIS")?,
            etcd: named("FLARE_TEST_ETCD")?,
        })
    }

    /// Of every process.
    pub(super) fn settings(&self) -> Vec<String> {
        let Self {
            name,
            kafka,
            postgres,
            redis,
            etcd,
        } = self;
        let brokers: Vec<_> = kafka.split(',').map(|it| format!("{it:?}")).collect();
        vec![
            "process.adapters=cluster".to_owned(),
            format!("kafka.bootstrap_servers=[{}]", brokers.join(",")),
            format!("kafka.prefix={name}."),
            format!("kafka.partitions={PARTITIONS}"),
            "kafka.allow_single_replica=true".to_owned(),
            format!("postgres.url={postgres}"),
            format!("postgres.schema_prefix={name}_"),
            format!("redis.url={redis}"),
            format!("redis.prefix={name}"),
            format!("etcd.endpoints=[{etcd:?}]"),
            format!("etcd.prefix={name}/"),
        ]
    }

    /// Makes the deployment's topics.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        let replicas = if self.kafka_nodes() >= 3 { "3" } else { "1" };
        let settings = self.settings();
        let mut arguments = vec!["topics", "create", "--replicas", replicas];
        arguments.extend(settings.iter().flat_map(|it| ["--set", it.as_str()]));
        process::run(&arguments).await?;
        Ok(())
    }
}
