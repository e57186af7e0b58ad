//! The section of the configuration that names a Redis.

use crate::config::Secret;

crate::section! {
    /// A Redis server, or what stands before its primary and its replicas. It holds what can be built again, and must not evict:
    /// `maxmemory-policy noeviction`. The connection is not encrypted: it stands in a network of its own.
    pub struct RedisConfig {
        /// Where it is and who asks: `redis://[user:password@]host[:port][/database]`.
        pub url: Secret = Secret::default(),
        /// Begins each key, in braces: several installations may share one Redis, and each stands in one slot.
        pub prefix: String = "flare".to_owned(),
        /// An attempt to connect that takes longer has failed.
        pub connect_ms: u32 = 1_000,
        /// A command that takes longer has failed.
        pub response_ms: u32 = 1_000,
        /// Whether Redis has lost what it held is looked at so often.
        pub check_ms: u32 = 1_000,
    }
    validate(config, at) {
        at.require(
            config.url.is_empty() || is_url(config.url.expose()),
            "url",
            "must be redis://[user:password@]host[:port][/database]",
        );
        at.require(
            (1..=64).contains(&config.prefix.len())
                && config.prefix.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"._-".contains(&it)),
            "prefix",
            "must be 1 to 64 characters of [a-z0-9._-]",
        );
        at.require((50..=60_000).contains(&config.connect_ms), "connect_ms", "must be 50 to 60000");
        at.require((50..=60_000).contains(&config.response_ms), "response_ms", "must be 50 to 60000");
        at.require((50..=60_000).contains(&config.check_ms), "check_ms", "must be 50 to 60000");
    }
}

/// Whether the driver takes it; a build without the driver never connects.
fn is_url(text: &str) -> bool {
    #[cfg(feature = "cluster")]
    let is_taken = ::redis::Client::open(text).is_ok();
    #[cfg(not(feature = "cluster"))]
    let is_taken = true;
    text.starts_with("redis://") && is_taken
}
