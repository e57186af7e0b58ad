//! The page doc/configuration.md, made from the configuration itself.

use flare_access_gateway::config::AccessGatewayConfig;
use flare_core_gateway::config::CoreGatewayConfig;
use flare_message_orchestrator::config::OrchestratorConfig;
use flare_push_server::PushServerConfig;
use flare_server_core::{
    config::{KeyDoc, Section, document},
    embedded::EmbeddedLogConfig,
    identity::IdentityConfig,
    process::{PeerConfig, ProcessConfig, RegistryConfig},
    servers::{EtcdConfig, KafkaConfig, PostgresConfig, RedisConfig},
    telemetry::TelemetryConfig,
    tls::TlsConfig,
};
use flare_session::config::SessionConfig;
use flare_signaling_online::OnlineConfig;
use flare_signaling_route::RouteConfig;
use flare_storage_reader::StorageReaderConfig;
use flare_storage_writer::StorageWriterConfig;

use crate::config::Config;

const HEAD: &str = "\
# Configuration

<!-- Made by `cargo run -p flare-im -- config reference > doc/configuration.md`; a test compares. -->

Every setting has a default, so that no file is needed. What is set comes, from the bottom up, from

1. the defaults below,
2. `config/base.toml` (another folder: `--config FOLDER` or `FLARE_CONFIG`),
3. `config/services/<service>.toml` of each service that the process runs,
4. `config/environments/<name>.toml` of the environment that is named by `--environment NAME` or `FLARE_ENVIRONMENT`,
5. environment variables: `FLARE__ACCESS_GATEWAY__MAX_CONNECTIONS=5000` sets `access_gateway.max_connections`,
6. arguments: `--set access_gateway.max_connections=5000`.

A binary of one service (`cargo run --bin flare-session`) stands for a cluster, above the defaults and below every file: `process.adapters` is `cluster`, `registry.kind` is `etcd`,
and it listens on its own ports. `KAFKA_BOOTSTRAP_SERVERS=host:port,host:port` stands for `kafka.bootstrap_servers`, and `RUST_LOG` for `telemetry.level`. `CONSUL_ENDPOINTS` is refused: processes do not find each other by Consul.

A key that is not known is a mistake, and so is a value out of its range; a start reports all mistakes at once, with file and key.
`flare config check` does so without starting, and `flare config print` shows every value with where it comes from, secrets masked.
`flare up --listen` stands for three keys, above all of these: `core_gateway.listen`, `access_gateway.listen` and `process.ops_listen`.

";

/// The sections of [`Config`], each with its introduction.
fn sections() -> [(&'static str, String); 20] {
    [
        ("process", ProcessConfig::introduction()),
        ("tls", TlsConfig::introduction()),
        ("peer", PeerConfig::introduction()),
        ("registry", RegistryConfig::introduction()),
        ("etcd", EtcdConfig::introduction()),
        ("kafka", KafkaConfig::introduction()),
        ("postgres", PostgresConfig::introduction()),
        ("redis", RedisConfig::introduction()),
        ("log", EmbeddedLogConfig::introduction()),
        ("telemetry", TelemetryConfig::introduction()),
        ("identity", IdentityConfig::introduction()),
        ("access_gateway", AccessGatewayConfig::introduction()),
        ("core_gateway", CoreGatewayConfig::introduction()),
        ("signaling_online", OnlineConfig::introduction()),
        ("signaling_route", RouteConfig::introduction()),
        ("message_orchestrator", OrchestratorConfig::introduction()),
        ("storage_writer", StorageWriterConfig::introduction()),
        ("storage_reader", StorageReaderConfig::introduction()),
        ("session", SessionConfig::introduction()),
        ("push_server", PushServerConfig::introduction()),
    ]
}

/// The whole page.
pub fn page() -> String {
    let keys = Config::describe();
    let sections = sections().map(|(name, introduction)| {
        let prefix = format!("{name}.");
        let its_keys: Vec<KeyDoc> = keys
            .iter()
            .filter(|it| it.key.starts_with(&prefix))
            .cloned()
            .collect();
        (name, introduction, its_keys)
    });
    let tables = document(
        sections
            .iter()
            .map(|(name, introduction, keys)| (*name, introduction.as_str(), keys.clone())),
    );
    format!("{HEAD}{}\n", tables.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_on_the_page_once() {
        let page = page();
        for key in Config::describe() {
            assert_eq!(
                page.matches(&format!("| `{}` |", key.key)).count(),
                1,
                "{}",
                key.key
            );
        }
    }
}
