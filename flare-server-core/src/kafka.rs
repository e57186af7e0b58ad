//! How this process reaches Kafka: what its log and its event bus share.

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

pub use crate::servers::KafkaConfig;

pub(crate) mod goodbye;
pub mod topics;

/// A broker's session of more than this makes its death end every epoch: below the socket's timeout, which is below the message's.
pub const SOCKET_TIMEOUT_MS: u32 = 5_000;
/// A record whose report has not come by then has an unknown outcome.
pub const MESSAGE_TIMEOUT_MS: u32 = 12_000;

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
