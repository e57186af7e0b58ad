//! The section of the configuration that names an etcd.

use tonic::transport::Endpoint;

crate::section! {
    /// An etcd cluster. Connections to it are not encrypted: it stands in a network of its own.
    pub struct EtcdConfig {
        /// Its members, such as ["http://127.0.0.1:2379"].
        pub endpoints: Vec<String> = Vec::new(),
        /// Begins each key: several installations may share one etcd.
        pub prefix: String = "flare/".to_owned(),
        /// A process that has ended without a word is found no more after about this, in seconds.
        pub lease_s: u32 = 10,
        /// A call that takes longer has failed.
        pub timeout_ms: u32 = 3_000,
    }
    validate(config, at) {
        let is_uri = |it: &String| it.starts_with("http://") && Endpoint::from_shared(it.clone()).is_ok();
        at.require(config.endpoints.iter().all(is_uri), "endpoints", "must be URIs, such as \"http://127.0.0.1:2379\"");
        at.require(config.prefix.len() <= 64, "prefix", "must be at most 64 bytes");
        at.require((2..=600).contains(&config.lease_s), "lease_s", "must be 2 to 600");
        at.require((100..=60_000).contains(&config.timeout_ms), "timeout_ms", "must be 100 to 60000");
    }
}
