//! The servers that a cluster stands on, as the configuration names them. What speaks to them stands behind the feature `cluster`.

mod etcd;
mod kafka;
mod postgres;
mod redis;

use std::{fmt, sync::Arc};

pub use self::{
    etcd::EtcdConfig, kafka::KafkaConfig, postgres::PostgresConfig, redis::RedisConfig,
};

/// A server that several services stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The message log and the event bus.
    Kafka,
    /// The message store and all other rows.
    Postgres,
    /// Presence.
    Redis,
}

/// The servers that the processes of a cluster share.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// The message log and the event bus.
    pub kafka: KafkaConfig,
    /// The message store and all other rows.
    pub postgres: PostgresConfig,
    /// Presence.
    pub redis: RedisConfig,
}

/// What the adapters of a process stand on. A service takes the arm of a cluster by its feature `cluster`, and answers [`Shape::is_not_built`] for what is left.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Shape {
    /// Files in the data folder, which this process alone has.
    Embedded,
    /// Servers that processes share.
    Cluster(Arc<Servers>),
}

/// A shape that a build has no adapters for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this build has no adapters of a cluster: build it with the feature `cluster`")]
pub struct NotBuilt;

impl Shape {
    /// Why nothing can be opened on it here.
    pub const fn is_not_built(&self) -> NotBuilt {
        NotBuilt
    }
}

impl Server {
    /// The key of the configuration that names it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Kafka => "kafka.bootstrap_servers",
            Self::Postgres => "postgres.url",
            Self::Redis => "redis.url",
        }
    }

    /// Whether it is named.
    pub fn is_named(self, servers: &Servers) -> bool {
        match self {
            Self::Kafka => !servers.kafka.bootstrap_servers.is_empty(),
            Self::Postgres => !servers.postgres.url.is_empty(),
            Self::Redis => !servers.redis.url.is_empty(),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kafka => "Kafka",
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        })
    }
}
