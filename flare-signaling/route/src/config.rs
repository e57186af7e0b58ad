//! The service's configuration.

flare_server_core::section! {
    /// Where things are: owners of partitions, business services, gateways that conversations interest.
    pub struct RouteConfig {
        /// What a process told stands for so long after its stream broke.
        pub grace_ms: u64 = 3_000,
        /// Processes that tell which partitions they own; more are refused LIMIT_EXCEEDED. Gateways that tell their interest likewise.
        pub max_announcers: usize = 1_000,
        /// Endpoints of business services that are registered at a time; more are refused LIMIT_EXCEEDED. Of one service at most 100.
        pub max_registrations: usize = 10_000,
        /// Pairs of a gateway and a conversation that interests it; more are refused LIMIT_EXCEEDED.
        pub max_interests: usize = 1_000_000,
    }
    validate(config, at) {
        at.require(config.grace_ms <= 60_000, "grace_ms", "must be at most 60000");
        for (key, value) in [
            ("max_announcers", config.max_announcers),
            ("max_registrations", config.max_registrations),
            ("max_interests", config.max_interests),
        ] {
            at.require(value > 0, key, "must be above 0");
        }
    }
}

flare_server_core::section! {
    /// flare-signaling-route's configuration, beside what every process has.
    pub struct Settings {
        /// flare-signaling-route.
        pub signaling_route: RouteConfig = RouteConfig::default(),
    }
}
