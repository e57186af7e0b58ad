//! The log in Kafka keeps the contract of `MessageLog`.
//!
//! Its process ends and begins anew; Kafka goes on. To lose power is the same here: what one machine of several loses is Kafka's, and what
//! becomes of records when a broker is killed is tested in `faults`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flare_server_core::{
    kafka::{
        KafkaConfig,
        topics::{self, Rule},
    },
    message_log::{
        KafkaMessageLog, MessageLog, TOPIC,
        contract::{MessageLogSite, message_log_obligations, violations},
        topic_spec,
    },
};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use tokio::time::timeout;

use crate::support;

const PARTITIONS: u32 = 2;

struct KafkaSite {
    kafka: KafkaConfig,
    log: Mutex<Option<Arc<KafkaMessageLog>>>,
}

impl KafkaSite {
    /// Sets the largest record that the broker takes, in bytes; None: what is usual.
    async fn limit_records(&self, bytes: Option<&str>) {
        let topic = format!("{}{TOPIC}", self.kafka.prefix);
        let spec = topic_spec(PARTITIONS);
        let usual: Vec<_> = spec
            .settings
            .iter()
            .map(|it| match it.rule {
                Rule::Is(value) => (it.key, value.to_owned()),
                Rule::AtLeast { usual, .. } => (it.key, usual.to_string()),
            })
            .collect();
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&topic));
        for (key, value) in &usual {
            altered = altered.set(key, value);
        }
        if let Some(bytes) = bytes {
            altered = altered.set("max.message.bytes", bytes);
        }
        let admin = support::admin(&self.kafka);
        let results = admin.alter_configs([&altered], &AdminOptions::new()).await;
        for result in results.unwrap() {
            result.unwrap();
        }
    }

    async fn begin(&self) -> Arc<dyn MessageLog> {
        let log = support::open(&self.kafka, PARTITIONS).await;
        *self.log.lock().unwrap() = Some(Arc::clone(&log));
        log
    }
}

#[async_trait]
impl MessageLogSite for KafkaSite {
    async fn open(&self) -> Arc<dyn MessageLog> {
        support::make(&self.kafka, PARTITIONS).await;
        self.begin().await
    }

    async fn restart(&self) -> Arc<dyn MessageLog> {
        let before = self.log.lock().unwrap().take();
        if let Some(before) = before {
            before.close();
        }
        self.limit_records(None).await;
        timeout(support::PATIENCE, async {
            let spec = [topic_spec(PARTITIONS)];
            while !topics::mistakes(&self.kafka, &spec)
                .await
                .unwrap()
                .is_empty()
            {}
        })
        .await
        .unwrap();
        self.begin().await
    }

    async fn lose_power(&self) -> Arc<dyn MessageLog> {
        self.restart().await
    }

    /// Has the broker refuse every record that it is sent.
    fn fail_appends(&self) {
        let log = self.log.lock().unwrap().clone().unwrap();
        futures::executor::block_on(async {
            self.limit_records(Some("1")).await;
            // Until the broker goes by it, in the partition that is not tested.
            while log.append(1, support::text(0)).await.is_ok() {}
        });
    }

    fn limit_room(&self, _low: bool) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_in_kafka_keeps_every_obligation() {
    let site = || -> Box<dyn MessageLogSite> {
        Box::new(KafkaSite {
            kafka: support::installation(),
            log: Mutex::default(),
        })
    };
    let violations = violations(&message_log_obligations(), site).await;
    assert!(violations.is_empty(), "{violations:?}");
}
