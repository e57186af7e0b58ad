//! The sections that every process's configuration begins with.

use std::collections::BTreeMap;

use crate::{
    config::Secret,
    embedded::EmbeddedLogConfig,
    identity::IdentityConfig,
    registry::service,
    telemetry::TelemetryConfig,
    tls::{PeerTlsConfig, TlsConfig},
};

/// The shortest secret that processes may share, in characters.
const MIN_SECRET_CHARS: usize = 32;

crate::section! {
    /// The process itself.
    pub struct ProcessConfig {
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
        /// Shared by all processes; needed where there are several. At least 32 visible ASCII characters.
        pub secret: Secret = Secret::default(),
        /// How it is encrypted.
        pub tls: PeerTlsConfig = PeerTlsConfig::default(),
    }
    validate(config, at) {
        let length = config.secret.expose().len();
        at.require(length == 0 || length >= MIN_SECRET_CHARS, "secret", "must have at least 32 characters");
        at.require(config.listen.is_empty() || length > 0, "secret", "is required where listen is set");
    }
}

crate::section! {
    /// Where the services of other processes answer.
    pub struct RegistryConfig {
        /// Services that this process's roles call and that do not run here, with their endpoints, such as flare-session = ["http://127.0.0.1:50055"]; https:// where peer.tls is set.
        pub services: BTreeMap<String, Vec<String>> = BTreeMap::new(),
    }
    validate(config, at) {
        for (service, endpoints) in &config.services {
            let key = format!("services.{service}");
            if service::known(service).is_none() {
                let known = service::ALL.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
                at.add(&key, format!("no such service: there are {known}"));
            }
            at.require(!endpoints.is_empty(), &key, "must name at least one endpoint");
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
        /// The embedded message log.
        pub log: EmbeddedLogConfig = EmbeddedLogConfig::default(),
        /// Logs, metrics and traces.
        pub telemetry: TelemetryConfig = TelemetryConfig::default(),
        /// Tokens and tenants.
        pub identity: IdentityConfig = IdentityConfig::default(),
    }
}
