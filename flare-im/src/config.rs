//! The whole configuration of a process: what every process has, and one section a service.

use flare_access_gateway::config::AccessGatewayConfig;
use flare_core_gateway::config::CoreGatewayConfig;
use flare_message_orchestrator::config::OrchestratorConfig;
use flare_push_server::PushServerConfig;
use flare_server_core::process::Configured;
use flare_session::config::SessionConfig;
use flare_signaling_online::OnlineConfig;
use flare_signaling_route::RouteConfig;
use flare_storage_reader::StorageReaderConfig;
use flare_storage_writer::StorageWriterConfig;

/// Flare IM Core's configuration.
pub type Config = Configured<ServicesConfig>;

flare_server_core::section! {
    /// Flare IM Core's configuration.
    pub struct ServicesConfig {
        /// flare-access-gateway.
        pub access_gateway: AccessGatewayConfig = AccessGatewayConfig::default(),
        /// flare-core-gateway.
        pub core_gateway: CoreGatewayConfig = CoreGatewayConfig::default(),
        /// flare-signaling-online.
        pub signaling_online: OnlineConfig = OnlineConfig::default(),
        /// flare-signaling-route.
        pub signaling_route: RouteConfig = RouteConfig::default(),
        /// flare-message-orchestrator.
        pub message_orchestrator: OrchestratorConfig = OrchestratorConfig::default(),
        /// flare-storage-writer.
        pub storage_writer: StorageWriterConfig = StorageWriterConfig::default(),
        /// flare-storage-reader.
        pub storage_reader: StorageReaderConfig = StorageReaderConfig::default(),
        /// flare-session.
        pub session: SessionConfig = SessionConfig::default(),
        /// flare-push-server.
        pub push_server: PushServerConfig = PushServerConfig::default(),
    }
}
