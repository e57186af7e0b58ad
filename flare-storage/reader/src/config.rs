//! The service's configuration.

flare_server_core::section! {
    /// Reads of conversations.
    pub struct StorageReaderConfig {
        /// An answer is cut after so many bytes of events; one event always fits.
        pub max_answer_bytes: usize = 200_000,
        /// Conversations that one call may ask for.
        pub max_ranges: usize = 50,
    }
    validate(config, at) {
        at.require((65_536..=4_000_000).contains(&config.max_answer_bytes), "max_answer_bytes", "must be 65536 to 4000000");
        at.require((1..=1_000).contains(&config.max_ranges), "max_ranges", "must be 1 to 1000");
    }
}

flare_server_core::section! {
    /// flare-storage-reader's configuration, beside what every process has.
    pub struct Settings {
        /// flare-storage-reader.
        pub storage_reader: StorageReaderConfig = StorageReaderConfig::default(),
    }
}
