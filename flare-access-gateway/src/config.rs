//! The service's configuration.

flare_server_core::section! {
    /// The edge of the client link.
    pub struct AccessGatewayConfig {
        /// Where clients connect: address and port.
        pub listen: String = "127.0.0.1:8081".to_owned(),
        /// Origins of the web pages that may connect, such as "https://chat.example.com" or, with any port, "http://localhost:*"; "*" alone: all.
        /// Clients that are no browsers send no Origin and are not asked.
        pub allowed_origins: Vec<String> =
            ["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned).into(),
        /// Open connections; the next is refused with 503.
        pub max_connections: usize = 100_000,
        /// Open connections from one address; the next is refused with 429.
        pub max_connections_per_ip: usize = 20_000,
        /// A handshake that takes longer is dropped.
        pub handshake_ms: u64 = 5_000,
        /// A connection without a Connect is closed after this.
        pub connect_ms: u64 = 10_000,
        /// The shortest heartbeat that is agreed.
        pub min_heartbeat_ms: u32 = 5_000,
        /// The longest heartbeat that is agreed.
        pub max_heartbeat_ms: u32 = 120_000,
        /// The heartbeat of a client that asks for none.
        pub default_heartbeat_ms: u32 = 30_000,
        /// A connection is closed so long after its token expired, unless the client brings another.
        pub token_grace_ms: u64 = 30_000,
        /// The oldest SDK that Connected calls good; empty: all.
        pub min_sdk_version: String = String::new(),
        /// The largest frame that a client may send.
        pub max_frame_bytes: usize = 262_144,
        /// The largest content of a message.
        pub max_content_bytes: usize = 65_536,
        /// Users that one message may mention.
        pub max_mentions: usize = 50,
        /// Commands of a connection without a receipt; then it is read no further.
        pub max_unacked_sends: usize = 64,
        /// Conversations in which a connection has commands outstanding or refused; a command to one more closes it with TOO_FAST.
        pub max_lanes: usize = 1_024,
        /// A command without a receipt is refused DEADLINE_EXCEEDED after this.
        pub command_ms: u64 = 10_000,
        /// Commands of all connections that wait to be submitted; then they are refused RESOURCE_EXHAUSTED.
        pub command_queue: usize = 8_192,
        /// Commands of all connections that are submitted and have no receipt.
        pub max_commands_in_flight: usize = 8_192,
        /// What the contents of commands without a receipt take together, in bytes; then commands are refused RESOURCE_EXHAUSTED.
        pub max_command_bytes: usize = 67_108_864,
        /// What may wait to be written to one connection.
        pub outbound_bytes: usize = 1_048_576,
        /// Calls and Syncs of one connection at a time; more are refused RESOURCE_EXHAUSTED.
        pub max_calls: usize = 8,
        /// The largest answer of a Call or Sync.
        pub max_reply_bytes: usize = 262_144,
        /// A Call or Sync without an answer is refused after this.
        pub call_ms: u64 = 10_000,
        /// Frames a second that one connection may send in the long run.
        pub frames_per_s: u32 = 2_000,
        /// Frames that one connection may send at once.
        pub frame_burst: u32 = 4_000,
        /// Frames above the limit, since the connection was last within it, that close it with TOO_FAST.
        pub max_excess_frames: u32 = 2_000,
        /// Signals (typing) a second that one connection may send.
        pub signals_per_s: u32 = 5,
        /// Signals of all connections on their way; more are refused RESOURCE_EXHAUSTED.
        pub signal_queue: usize = 4_096,
        /// Acknowledged positions are gathered for so long.
        pub positions_ms: u64 = 1_000,
        /// Positions that wait to be stored; more are refused RESOURCE_EXHAUSTED. Of one device at most 10,000 wait.
        pub max_positions: usize = 200_000,
        /// Connections that wait to be registered; more are refused UNAVAILABLE.
        pub registration_queue: usize = 4_096,
        /// Pairs of a connected user and a large conversation that he is in; who would need more is closed with GOING_AWAY.
        pub max_large_places: usize = 1_000_000,
        /// Conversations that one connection says it shows; more are refused LIMIT_EXCEEDED.
        pub max_viewed: usize = 16,
        /// Who does not view a large conversation is told where its head stands no more often than this.
        pub head_hint_ms: u64 = 5_000,
        /// What is under way at shutdown is waited for no longer than this.
        pub drain_ms: u64 = 5_000,
        /// At shutdown, clients are told to reconnect at moments spread over this time.
        pub reconnect_spread_ms: u32 = 5_000,
    }
    validate(config, at) {
        for (key, value) in [
            ("max_connections", config.max_connections),
            ("max_connections_per_ip", config.max_connections_per_ip),
            ("max_unacked_sends", config.max_unacked_sends),
            ("max_lanes", config.max_lanes),
            ("command_queue", config.command_queue),
            ("max_commands_in_flight", config.max_commands_in_flight),
            ("max_calls", config.max_calls),
            ("signal_queue", config.signal_queue),
            ("max_positions", config.max_positions),
            ("registration_queue", config.registration_queue),
            ("max_large_places", config.max_large_places),
            ("max_viewed", config.max_viewed),
        ] {
            at.require(value > 0, key, "must be above 0");
        }
        for (key, value) in [
            ("handshake_ms", config.handshake_ms),
            ("connect_ms", config.connect_ms),
            ("command_ms", config.command_ms),
            ("call_ms", config.call_ms),
        ] {
            at.require((100..=600_000).contains(&value), key, "must be 100 to 600000");
        }
        for (key, value) in [
            ("frames_per_s", config.frames_per_s),
            ("frame_burst", config.frame_burst),
            ("max_excess_frames", config.max_excess_frames),
            ("signals_per_s", config.signals_per_s),
        ] {
            at.require(value > 0, key, "must be above 0");
        }
        at.require(
            (1_024..=16_777_216).contains(&config.max_content_bytes),
            "max_content_bytes",
            "must be 1024 to 16777216",
        );
        at.require(
            (config.max_content_bytes..=1_073_741_824).contains(&config.max_command_bytes),
            "max_command_bytes",
            "must be at least max_content_bytes, and at most 1073741824",
        );
        at.require(
            config.max_frame_bytes > config.max_content_bytes && config.max_frame_bytes <= 33_554_432,
            "max_frame_bytes",
            "must be above max_content_bytes, and at most 33554432",
        );
        at.require(
            config.outbound_bytes >= config.max_reply_bytes,
            "outbound_bytes",
            "must be at least max_reply_bytes",
        );
        at.require(config.max_reply_bytes >= 4_096, "max_reply_bytes", "must be at least 4096");
        at.require((10..=10_000).contains(&config.positions_ms), "positions_ms", "must be 10 to 10000");
        at.require((10..=600_000).contains(&config.head_hint_ms), "head_hint_ms", "must be 10 to 600000");
        let heartbeats = [100, config.min_heartbeat_ms, config.default_heartbeat_ms, config.max_heartbeat_ms, 3_600_000];
        at.require(
            heartbeats.is_sorted(),
            "default_heartbeat_ms",
            "must lie between min_heartbeat_ms and max_heartbeat_ms, and these between 100 and 3600000",
        );
    }
}

flare_server_core::section! {
    /// flare-access-gateway's configuration, beside what every process has.
    pub struct Settings {
        /// flare-access-gateway.
        pub access_gateway: AccessGatewayConfig = AccessGatewayConfig::default(),
    }
}
