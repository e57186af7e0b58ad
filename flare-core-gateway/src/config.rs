//! The service's configuration.

flare_server_core::section! {
    /// gRPC and HTTP/JSON for business backends and users' own tools, and the page.
    pub struct CoreGatewayConfig {
        /// The address on which gRPC, HTTP and the page answer.
        pub listen: String = "127.0.0.1:8080".to_owned(),
        /// Where browsers reach flare-access-gateway, such as `wss://chat.example.com/ws`. Not set: the host by which the page was asked for, with flare-access-gateway's port; 8081, if it runs in another process.
        pub public_ws_url: Option<String> = None,
        /// Origins of other sites whose scripts may call the HTTP API, such as `https://shop.example.com`.
        pub allowed_origins: Vec<String> = Vec::new(),
        /// Connections at once; further ones wait to be accepted.
        pub max_connections: usize = 10_000,
        /// Connections at once from one address; the next is answered 429, or dropped where TLS is on.
        pub max_connections_per_ip: usize = 5_000,
        /// A connection without a request for so long is closed.
        pub idle_ms: u64 = 300_000,
        /// The longest body of a request, in bytes.
        pub max_body_bytes: usize = 4 * 1_024 * 1_024,
        /// A request is given up after this; whether it was done is then unknown.
        pub timeout_ms: u64 = 10_000,
        /// The longest content of a message, in bytes.
        pub max_content_bytes: usize = 64 * 1_024,
        /// Mentions in one message.
        pub max_mentions: usize = 50,
        /// Requests of one user a second; each message of a batch, or each 64 KiB of a body, counts.
        pub user_requests_per_s: u32 = 50,
        /// Requests of one user at once, after a pause.
        pub user_burst: u32 = 200,
        /// Requests by one API key a second; each message of a batch, or each 64 KiB of a body, counts.
        pub api_key_requests_per_s: u32 = 2_000,
        /// Requests by one API key at once, after a pause.
        pub api_key_burst: u32 = 4_000,
    }
    validate(config, at) {
        at.require(!config.listen.is_empty(), "listen", "is required, such as 127.0.0.1:8080");
        at.require(config.public_ws_url.as_deref().is_none_or(is_ws_url), "public_ws_url", "want ws:// or wss://, a host and a path, such as wss://chat.example.com/ws");
        at.require(config.allowed_origins.iter().all(|it| is_origin(it)), "allowed_origins", "want http:// or https:// and a host in small letters, no path, such as https://shop.example.com");
        at.require((1..=1_000_000).contains(&config.max_connections), "max_connections", "must be 1 to 1000000");
        at.require((1..=1_000_000).contains(&config.max_connections_per_ip), "max_connections_per_ip", "must be 1 to 1000000");
        at.require((100..=86_400_000).contains(&config.idle_ms), "idle_ms", "must be 100 to 86400000");
        at.require((64 * 1_024..=64 * 1_024 * 1_024).contains(&config.max_body_bytes), "max_body_bytes", "must be 65536 to 67108864");
        at.require((100..=600_000).contains(&config.timeout_ms), "timeout_ms", "must be 100 to 600000");
        at.require((1..=256 * 1_024).contains(&config.max_content_bytes), "max_content_bytes", "must be 1 to 262144");
        at.require(config.max_mentions <= 1_000, "max_mentions", "must be at most 1000");
        for (value, key) in [
            (config.user_requests_per_s, "user_requests_per_s"),
            (config.user_burst, "user_burst"),
            (config.api_key_requests_per_s, "api_key_requests_per_s"),
            (config.api_key_burst, "api_key_burst"),
        ] {
            at.require(value > 0, key, "must be above 0");
        }
    }
}

fn is_ws_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|it| {
        matches!(it.scheme_str(), Some("ws" | "wss"))
            && it.host().is_some_and(|host| !host.is_empty())
            && (it.path() != "/" || text.ends_with('/'))
            && !text.contains([';', ',', '\''])
    })
}

/// As browsers write it: they are compared letter by letter.
fn is_origin(text: &str) -> bool {
    let parsed = text.parse::<http::Uri>().map(http::Uri::into_parts);
    let Ok((Some(scheme), Some(authority))) = parsed.map(|it| (it.scheme, it.authority)) else {
        return false;
    };
    let written = format!("{scheme}://{authority}").to_lowercase();
    matches!(scheme.as_str(), "http" | "https") && !text.contains(['@', '*']) && written == text
}

flare_server_core::section! {
    /// flare-core-gateway's configuration, beside what every process has.
    pub struct Settings {
        /// flare-core-gateway.
        pub core_gateway: CoreGatewayConfig = CoreGatewayConfig::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flare_server_core::config::mistakes_of;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(mistakes_of(&CoreGatewayConfig::default()), []);
    }

    #[test]
    fn each_rule_names_its_key() {
        let wrong = CoreGatewayConfig {
            listen: String::new(),
            public_ws_url: Some("https://chat.example.com/ws".to_owned()),
            allowed_origins: vec!["https://shop.example.com/".to_owned()],
            max_connections: 0,
            max_connections_per_ip: 0,
            idle_ms: 0,
            max_body_bytes: 1,
            timeout_ms: 1,
            max_content_bytes: 0,
            max_mentions: 1_001,
            user_requests_per_s: 0,
            user_burst: 0,
            api_key_requests_per_s: 0,
            api_key_burst: 0,
        };
        let keys: Vec<_> = mistakes_of(&wrong)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(
            keys,
            [
                "listen",
                "public_ws_url",
                "allowed_origins",
                "max_connections",
                "max_connections_per_ip",
                "idle_ms",
                "max_body_bytes",
                "timeout_ms",
                "max_content_bytes",
                "max_mentions",
                "user_requests_per_s",
                "user_burst",
                "api_key_requests_per_s",
                "api_key_burst",
            ]
        );
    }

    #[test]
    fn urls_are_what_browsers_say() {
        for url in [
            "wss://chat.example.com/ws",
            "ws://[::1]:8081/",
            "ws://localhost:8081/a/b",
        ] {
            assert!(is_ws_url(url), "{url}");
        }
        for url in [
            "wss://chat.example.com",
            "https://chat.example.com/ws",
            "wss:///ws",
            "wss://a?x=1",
        ] {
            assert!(!is_ws_url(url), "{url}");
        }
        for origin in [
            "http://localhost:3000",
            "https://shop.example.com",
            "http://[::1]:3000",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "https://Shop.example.com",
            "https://shop.example.com/",
            "https://shop.example.com?x",
            "https://me@shop.example.com",
            "http://localhost:*",
            "*",
            "null",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }
}
