//! The service's configuration.

flare_server_core::section! {
    /// Online delivery.
    pub struct PushServerConfig {
        /// Members of all rosters that are kept in memory together.
        pub max_roster_members: u64 = 2_000_000,
        /// Large conversations of which it is kept when their members last changed.
        pub max_large_conversations: u64 = 100_000,
        /// Batches on their way to one gateway; the next waits.
        pub gateway_queue_batches: usize = 64,
        /// A gateway that takes no batch for so long loses its stream, and its connections are told to sync.
        pub gateway_deadline_ms: u64 = 5_000,
        /// Signals on their way; more are dropped, and devices that miss what their user did on another are told to sync.
        pub signal_queue: usize = 10_000,
    }
    validate(config, at) {
        at.require(config.gateway_queue_batches > 0, "gateway_queue_batches", "must be above 0");
        at.require(config.gateway_deadline_ms > 0, "gateway_deadline_ms", "must be above 0");
        at.require(config.signal_queue > 0, "signal_queue", "must be above 0");
    }
}

flare_server_core::section! {
    /// flare-push-server's configuration, beside what every process has.
    pub struct Settings {
        /// flare-push-server.
        pub push_server: PushServerConfig = PushServerConfig::default(),
    }
}
