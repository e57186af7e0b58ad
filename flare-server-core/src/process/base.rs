//! The sections that every process's configuration begins with.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    config::Secret,
    embedded::EmbeddedLogConfig,
    identity::IdentityConfig,
    registry::service,
    servers::{EtcdConfig, KafkaConfig, PostgresConfig, RedisConfig, Servers, Shape},
    telemetry::TelemetryConfig,
    tls::{PeerTlsConfig, TlsConfig},
};

/// The shortest secret that processes may share, in characters.
const MIN_SECRET_CHARS: usize = 32;

crate::choice! {
    /// What the adapters of a process stand on.
    pub enum AdapterKind {
        /// Files in its data folder.
        Embedded = "embedded",
        /// Servers that processes share: Kafka, PostgreSQL, Redis.
        Cluster = "cluster",
    }
}

crate::choice! {
    /// How processes find each other.
    pub enum RegistryKind {
        /// Where each service answers stands in the configuration.
        Static = "static",
        /// Under names that stand for all processes of a service.
        Dns = "dns",
        /// Processes enter themselves in etcd.
        Etcd = "etcd",
    }
}

crate::section! {
    /// The process itself.
    pub struct ProcessConfig {
        /// What its services keep their data in: `embedded`, files in the data folder, which it has for itself; or `cluster`, the servers of the sections kafka, postgres and redis, which any number of processes share.
        pub adapters: AdapterKind = AdapterKind::Embedded,
        /// Health and metrics; empty: none.
        pub ops_listen: String = "127.0.0.1:18080".to_owned(),
        /// A drain is given up after this.
        pub drain_ms: u64 = 10_000,
        /// Files and sockets that may be open at once: the soft limit is raised to this, or as far as the hard one allows.
        pub open_files: u64 = 1_048_576,
    }
    validate(config, at) {
        at.require((100..=600_000).contains(&config.drain_ms), "drain_ms", "must be 100 to 600000");
    }
}

crate::section! {
    /// gRPC between this process and others of the same deployment.
    pub struct PeerConfig {
        /// Where this process's services answer others; empty: nobody else's calls are taken.
        pub listen: String = String::new(),
        /// Where others reach it, as host:port; empty: where it listens. Needed where that is every address of the machine, such as 0.0.0.0.
        pub advertise: String = String::new(),
        /// Shared by all processes; needed where there are several. At least 32 visible ASCII characters.
        pub secret: Secret = Secret::default(),
        /// How it is encrypted.
        pub tls: PeerTlsConfig = PeerTlsConfig::default(),
    }
    validate(config, at) {
        let length = config.secret.expose().len();
        at.require(length == 0 || length >= MIN_SECRET_CHARS, "secret", "must have at least 32 characters");
        at.require(config.listen.is_empty() || length > 0, "secret", "is required where listen is set");
        let named = config.advertise.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|it| it > 0));
        at.require(config.advertise.is_empty() || named, "advertise", "must be host:port, such as \"10.0.0.7:50055\"");
    }
}

crate::section! {
    /// Where the services of other processes answer.
    pub struct RegistryConfig {
        /// How they are found: `static`, by the endpoints in services; `dns`, by one name for each of services, which stands for all of its processes; `etcd`, where processes enter themselves (section etcd).
        pub kind: RegistryKind = RegistryKind::Static,
        /// Names are resolved again so often.
        pub dns_ms: u64 = 5_000,
        /// Services that this process's roles call and that do not run here, with their endpoints, such as flare-session = ["http://127.0.0.1:50055"]; https:// where peer.tls is set.
        pub services: BTreeMap<String, Vec<String>> = BTreeMap::new(),
    }
    validate(config, at) {
        at.require((100..=600_000).contains(&config.dns_ms), "dns_ms", "must be 100 to 600000");
        for (service, endpoints) in &config.services {
            let key = format!("services.{service}");
            if service::known(service).is_none() {
                let known = service::ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
                at.add(&key, format!("no such service: there are {known}"));
            }
            at.require(!endpoints.is_empty(), &key, "must name at least one endpoint");
            at.require(config.kind != RegistryKind::Dns || endpoints.len() == 1, &key, "must be one name: its addresses are the processes");
            for endpoint in endpoints {
                at.require(
                    endpoint.starts_with("http://") || endpoint.starts_with("https://"),
                    &key,
                    "must be URIs such as http://127.0.0.1:50055",
                );
            }
        }
    }
}

crate::section! {
    /// What every process's configuration begins with.
    pub struct BaseConfig {
        /// The process itself.
        pub process: ProcessConfig = ProcessConfig::default(),
        /// TLS on the ports of clients and of business backends.
        pub tls: TlsConfig = TlsConfig::default(),
        /// gRPC between processes.
        pub peer: PeerConfig = PeerConfig::default(),
        /// Where other processes answer.
        pub registry: RegistryConfig = RegistryConfig::default(),
        /// etcd, where processes find each other in it.
        pub etcd: EtcdConfig = EtcdConfig::default(),
        /// Kafka, of the cluster.
        pub kafka: KafkaConfig = KafkaConfig::default(),
        /// PostgreSQL, of the cluster.
        pub postgres: PostgresConfig = PostgresConfig::default(),
        /// Redis, of the cluster.
        pub redis: RedisConfig = RedisConfig::default(),
        /// The embedded message log.
        pub log: EmbeddedLogConfig = EmbeddedLogConfig::default(),
        /// Logs, metrics and traces.
        pub telemetry: TelemetryConfig = TelemetryConfig::default(),
        /// Tokens and tenants.
        pub identity: IdentityConfig = IdentityConfig::default(),
    }
}

impl BaseConfig {
    /// The servers that are named, whether the process stands on them or not.
    pub fn servers(&self) -> Servers {
        Servers {
            kafka: self.kafka.clone(),
            postgres: self.postgres.clone(),
            redis: self.redis.clone(),
        }
    }

    /// What the adapters stand on.
    pub fn stands_on(&self) -> Shape {
        match self.process.adapters {
            AdapterKind::Embedded => Shape::Embedded,
            AdapterKind::Cluster => Shape::Cluster(Arc::new(self.servers())),
        }
    }
}
