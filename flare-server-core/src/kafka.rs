//! How this process reaches Kafka: what its log and its event bus share.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

pub mod topics;

/// A broker's session of more than this makes its death end every epoch: below the socket's timeout, which is below the message's.
pub const SOCKET_TIMEOUT_MS: u32 = 5_000;
/// A record whose report has not come by then has an unknown outcome.
pub const MESSAGE_TIMEOUT_MS: u32 = 12_000;

crate::section! {
    /// A Kafka cluster. Its connections are not encrypted: it stands in a network of its own.
    pub struct KafkaConfig {
        /// Brokers to ask for the others, as host:port.
        pub bootstrap_servers: Vec<String> = Vec::new(),
        /// Begins the name of each topic and group: several installations may share one Kafka.
        pub prefix: String = String::new(),
        /// Takes topics with one replica. What is acknowledged is lost with that broker's disk.
        pub allow_single_replica: bool = false,
    }
    validate(config, at) {
        let named = |it: &String| it.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        at.require(
            config.bootstrap_servers.iter().all(named),
            "bootstrap_servers",
            "must be host:port each, such as \"127.0.0.1:29092\"",
        );
        at.require(
            config.prefix.len() <= 64 && config.prefix.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"._-".contains(&it)),
            "prefix",
            "must be at most 64 characters of [a-z0-9._-]",
        );
    }
}

impl KafkaConfig {
    /// What every client of it begins with.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.bootstrap_servers.join(","))
            .set("socket.timeout.ms", SOCKET_TIMEOUT_MS.to_string())
            .set("socket.nagle.disable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Warning);
        client
    }

    /// A topic's or group's name as Kafka knows it.
    pub(crate) fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
