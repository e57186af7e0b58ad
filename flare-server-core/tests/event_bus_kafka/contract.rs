//! The obligations of the port.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flare_server_core::event_bus::contract::{EventBusSite, event_bus_obligations};
use flare_server_core::event_bus::{EventBus, KafkaEventBus};
use flare_server_core::kafka::KafkaConfig;
use flare_server_core::message_log::contract::violations;
use tokio::runtime::{Builder, Runtime};

use crate::kafka::{TOPIC, fresh, make, quick};

/// A bus whose process is a runtime of its own: it ends in the middle of everything. Its connections are closed then, as an operating system would; what becomes of
/// a group whose member says nothing any more is another test's. The server's power stays on: that what it has acknowledged survives is its replication's work.
struct KafkaSite {
    config: KafkaConfig,
    process: Mutex<Option<Runtime>>,
}

impl KafkaSite {
    fn fresh() -> Box<dyn EventBusSite> {
        Box::new(Self {
            config: fresh(),
            process: Mutex::default(),
        })
    }

    fn kill(&self) {
        if let Some(process) = self.process.lock().unwrap().take() {
            process.shutdown_background();
        }
    }

    async fn start(&self) -> Arc<dyn EventBus> {
        let process = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = self.config.clone();
        let bus = process.spawn(async move { KafkaEventBus::open(&config, quick()).unwrap() });
        *self.process.lock().unwrap() = Some(process);
        Arc::new(bus.await.unwrap())
    }
}

impl Drop for KafkaSite {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait]
impl EventBusSite for KafkaSite {
    async fn open(&self) -> Arc<dyn EventBus> {
        let long = "a".repeat(124);
        let dead_letters = format!("{TOPIC}.dlq");
        make(&self.config, &[TOPIC, &dead_letters, &long]).await;
        self.start().await
    }

    async fn restart(&self) -> Arc<dyn EventBus> {
        self.kill();
        self.start().await
    }

    async fn lose_power(&self) -> Arc<dyn EventBus> {
        self.restart().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_in_kafka_keeps_every_obligation() {
    let violations = violations(&event_bus_obligations(), KafkaSite::fresh).await;
    assert!(violations.is_empty(), "{violations:?}");
}
