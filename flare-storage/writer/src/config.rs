//! The service's configuration.

flare_server_core::section! {
    /// How the log is applied to the message store.
    pub struct StorageWriterConfig {
        /// At most so many bytes of the log are applied in one batch.
        pub max_batch_bytes: usize = 4_194_304,
        /// Bytes of the log that all partitions of a process hold at the same time, read and not yet published; each gets its share, of one record at least.
        pub max_held_bytes: usize = 67_108_864,
        /// Recent bytes of events that consumers of flare.im.message.persisted read from memory.
        pub view_memory_bytes: usize = 67_108_864,
        /// The log is trimmed at most so often.
        pub trim_interval_ms: u64 = 10_000,
    }
    validate(config, at) {
        at.require(config.max_batch_bytes >= 524_288, "max_batch_bytes", "must hold one record: at least 524288");
        at.require(config.max_held_bytes >= config.max_batch_bytes, "max_held_bytes", "must hold one batch: at least max_batch_bytes");
        at.require(config.view_memory_bytes >= 1_048_576, "view_memory_bytes", "must be at least 1048576");
        at.require(config.trim_interval_ms >= 100, "trim_interval_ms", "must be at least 100");
    }
}

flare_server_core::section! {
    /// flare-storage-writer's configuration, beside what every process has.
    pub struct Settings {
        /// flare-storage-writer.
        pub storage_writer: StorageWriterConfig = StorageWriterConfig::default(),
    }
}
