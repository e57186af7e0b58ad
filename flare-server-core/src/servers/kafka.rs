//! The section of the configuration that names a Kafka.

crate::section! {
    /// A Kafka cluster. Its connections are not encrypted: it stands in a network of its own.
    pub struct KafkaConfig {
        /// Brokers to ask for the others, as host:port.
        pub bootstrap_servers: Vec<String> = Vec::new(),
        /// Begins the name of each topic and group: several installations may share one Kafka.
        pub prefix: String = String::new(),
        /// Partitions of the message log, for the life of the installation.
        pub partitions: u32 = 64,
        /// Takes topics with one replica. What is acknowledged is lost with that broker's disk.
        pub allow_single_replica: bool = false,
    }
    validate(config, at) {
        let named = |it: &String| it.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        at.require(
            config.bootstrap_servers.iter().all(named),
            "bootstrap_servers",
            "must be host:port each, such as \"127.0.0.1:29092\"",
        );
        at.require((1..=1_024).contains(&config.partitions), "partitions", "must be 1 to 1024");
        at.require(
            config.prefix.len() <= 64 && config.prefix.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"._-".contains(&it)),
            "prefix",
            "must be at most 64 characters of [a-z0-9._-]",
        );
    }
}
