//! The adapters of one process: files in its data folder.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use backon::ExponentialBuilder;

use crate::{
    event_bus::{EmbeddedBusOptions, EmbeddedEventBus, EventBus},
    log_file::{AsyncLogOptions, DiskLayer, LogError, LogOptions, Retention},
    message_log::{EmbeddedMessageLog, MessageLog},
    platform::Adapters,
    service::ServiceError,
    shutdown::Shutdown,
};

/// Topics that are shown from elsewhere instead of being kept here.
const VIEWS: [&str; 1] = ["flare.im.message.persisted"];

crate::section! {
    /// The message log in this process's data folder.
    pub struct EmbeddedLogConfig {
        /// Size of a segment file.
        pub segment_bytes: u64 = 67_108_864,
        /// While less is free on the disk, sends are refused; they are taken again when twice as much is.
        pub min_free_bytes: u64 = 268_435_456,
        /// Segments older than this go once the store has them, even if somebody still reads them, loudly. In seconds; 0: never.
        pub max_age_s: u64 = 604_800,
        /// The oldest segments that the store has go, loudly, while all together are larger than this; 0: never.
        pub max_bytes: u64 = 0,
    }
    validate(config, at) {
        at.require(
            config.segment_bytes >= 4_194_304 && config.segment_bytes.is_multiple_of(512),
            "segment_bytes",
            "must be a multiple of 512, at least 4194304",
        );
    }
}

/// Opens the embedded message log and event bus.
pub struct EmbeddedAdapters {
    data: PathBuf,
    log: LogOptions,
}

impl EmbeddedAdapters {
    /// Keeps its files in `data`. A write or sync that fails ends the process by `fatal`.
    pub fn new(data: PathBuf, config: &EmbeddedLogConfig, fatal: Shutdown) -> Self {
        let retention = Retention {
            max_age: (config.max_age_s > 0).then(|| Duration::from_secs(config.max_age_s)),
            max_bytes: (config.max_bytes > 0).then_some(config.max_bytes),
            only_stored: true,
        };
        let log = LogOptions {
            segment_bytes: config.segment_bytes,
            min_free_bytes: config.min_free_bytes,
            retention,
            on_fatal: Some(Arc::new(move |error: &LogError| {
                fatal.fail(error.to_string())
            })),
            ..LogOptions::default()
        };
        Self { data, log }
    }
}

#[async_trait]
impl Adapters for EmbeddedAdapters {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        let folder = self.data.join("log");
        let options = AsyncLogOptions {
            log: self.log.clone(),
            ..AsyncLogOptions::default()
        };
        let log = tokio::task::spawn_blocking(move || {
            EmbeddedMessageLog::open(Arc::new(DiskLayer), &folder, options)
        })
        .await??;
        Ok(Arc::new(log))
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        let folder = self.data.join("bus");
        let options = EmbeddedBusOptions {
            views: BTreeSet::from(VIEWS.map(str::to_owned)),
            log: AsyncLogOptions {
                log: LogOptions {
                    segment_bytes: 4 << 20,
                    retention: Retention::default(),
                    ..self.log.clone()
                },
                ..AsyncLogOptions::default()
            },
            retry: ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(20))
                .with_max_delay(Duration::from_secs(2))
                .with_jitter()
                .without_max_times(),
            ..EmbeddedBusOptions::default()
        };
        let bus = tokio::task::spawn_blocking(move || {
            EmbeddedEventBus::open(Arc::new(DiskLayer), &folder, options)
        })
        .await??;
        Ok(Arc::new(bus))
    }

    async fn close(&self) -> Result<(), ServiceError> {
        // Each file is closed by whoever drops it last.
        Ok(())
    }
}
