//! The adapters of several processes: the log and the bus in Kafka.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::{
    event_bus::{EventBus, KafkaBusOptions, KafkaEventBus, dead_letter_topic},
    kafka::{
        KafkaConfig,
        topics::{DAY_MS, Setting, TopicSpec},
    },
    message_log::{self, KafkaMessageLog, MessageLog},
    platform::Adapters,
    service::ServiceError,
    shutdown::Shutdown,
};

/// What storage-writer has committed, for all who follow it.
const PERSISTED: &str = "flare.im.message.persisted";
/// Of a record of a bus: an event of the longest content, and its batch's head.
const MAX_CARRIED_BYTES: i64 = 1 << 20;
/// Of what was rejected there is little.
const DEAD_LETTER_PARTITIONS: u32 = 1;

/// The topics that a cluster needs.
///
/// The brokers' clock alone decides of a record's age: they would refuse those of a process whose clock is far ahead.
pub fn topics(kafka: &KafkaConfig) -> Vec<TopicSpec> {
    let carried = |name: String, partitions: u32, retention_days: i64| TopicSpec {
        name,
        partitions,
        settings: vec![
            Setting::is("cleanup.policy", "delete"),
            Setting::at_least("max.message.bytes", MAX_CARRIED_BYTES, MAX_CARRIED_BYTES),
            Setting::is("message.timestamp.type", "LogAppendTime"),
            Setting::at_least("retention.ms", DAY_MS, retention_days * DAY_MS),
            Setting::is("unclean.leader.election.enable", "false"),
        ],
    };
    vec![
        message_log::topic_spec(kafka.partitions),
        carried(PERSISTED.to_owned(), kafka.partitions, 7),
        carried(dead_letter_topic(PERSISTED), DEAD_LETTER_PARTITIONS, 30),
    ]
}

/// Opens the message log and the event bus in Kafka.
pub struct ClusterAdapters {
    kafka: KafkaConfig,
    fatal: Shutdown,
    log: OnceLock<Arc<KafkaMessageLog>>,
    bus: OnceLock<Arc<KafkaEventBus>>,
}

impl ClusterAdapters {
    /// In this Kafka. A client that fails for good ends the process by `fatal`.
    pub const fn new(kafka: KafkaConfig, fatal: Shutdown) -> Self {
        Self {
            kafka,
            fatal,
            log: OnceLock::new(),
            bus: OnceLock::new(),
        }
    }
}

#[async_trait]
impl Adapters for ClusterAdapters {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        let fatal = self.fatal.clone();
        let on_fatal = Arc::new(move |why: &str| fatal.fail(why.to_owned()));
        let log = KafkaMessageLog::open(&self.kafka, self.kafka.partitions, on_fatal).await?;
        let log = Arc::new(log);
        Ok(Arc::clone(self.log.get_or_init(|| log)) as _)
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        let bus = Arc::new(KafkaEventBus::open(
            &self.kafka,
            KafkaBusOptions::default(),
        )?);
        Ok(Arc::clone(self.bus.get_or_init(|| bus)) as _)
    }

    async fn close(&self) -> Result<(), ServiceError> {
        if let Some(bus) = self.bus.get() {
            bus.close().await;
        }
        if let Some(log) = self.log.get().cloned() {
            tokio::task::spawn_blocking(move || log.close()).await?;
        }
        Ok(())
    }
}
