//! The service's configuration.

flare_server_core::section! {
    /// Presence and revocations.
    pub struct OnlineConfig {
        /// A gateway's connections are forgotten when its lease was not renewed for so long.
        pub lease_ms: u32 = 15_000,
        /// Devices of one user that may be connected at once.
        pub max_devices_per_user: usize = 10,
        /// Users whose last connection's end is remembered; the longest unseen are forgotten first.
        pub max_remembered_users: u64 = 100_000,
    }
    validate(config, at) {
        at.require((1_000..=600_000).contains(&config.lease_ms), "lease_ms", "must be 1000 to 600000");
        at.require((1..=100).contains(&config.max_devices_per_user), "max_devices_per_user", "must be 1 to 100");
    }
}

flare_server_core::section! {
    /// flare-signaling-online's configuration, beside what every process has.
    pub struct Settings {
        /// flare-signaling-online.
        pub signaling_online: OnlineConfig = OnlineConfig::default(),
    }
}
