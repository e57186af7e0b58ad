//! Processes on the same servers, each in a runtime of its own, so that it can be killed.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{message::EventHeader, session::SyncInboxResponse};
use flare_server_core::{
    clock::{Clock, IdSource, SystemClock},
    event_bus::{EventBus, KafkaBusOptions, KafkaEventBus},
    kafka::{
        KafkaConfig,
        topics::{self, TopicSpec},
    },
    message_log::MessageLog,
    platform::Adapters,
    postgres::{PostgresConfig, scratch::Scratch},
    service::ServiceError,
};
use flare_session::{
    SessionConfig,
    handler::events::TOPIC,
    service::{adapters_of_cluster, build_on},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

use crate::{
    fake_log::encode,
    process::{Others, Process},
    world::{answer, user},
};

/// What does not answer by then does not answer: a member that was killed is missed after ten seconds.
const PATIENCE: Duration = Duration::from_secs(40);
const LANES: u32 = 4;

/// The servers, with nothing of anybody else's.
pub(crate) struct House {
    scratch: Scratch,
    kafka: KafkaConfig,
    bus: KafkaEventBus,
    pub(crate) others: Others,
}

struct Cluster(KafkaConfig);

#[async_trait]
impl Adapters for Cluster {
    async fn open_message_log(&self) -> Result<Arc<dyn MessageLog>, ServiceError> {
        Err("flare-session has no business with the log".into())
    }

    async fn open_event_bus(&self) -> Result<Arc<dyn EventBus>, ServiceError> {
        let bus = KafkaEventBus::open(&self.0, KafkaBusOptions::default())?;
        Ok(Arc::new(bus))
    }

    async fn close(&self) -> Result<(), ServiceError> {
        // Who drops the bus last closes it.
        Ok(())
    }
}

/// A process in its runtime.
pub(crate) struct Running {
    pub(crate) process: Option<Process>,
    runtime: Option<Runtime>,
}

impl House {
    pub(crate) async fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests have no configuration: this is where they learn of the server"
        )]
        let servers = std::env::var("FLARE_TEST_KAFKA");
        let servers = servers.expect(
            "FLARE_TEST_KAFKA is not set: `cargo xtask infra up` starts Kafka and says how to set it",
        );
        let ulid = IdSource::from_os().ulid(SystemClock.now_ms());
        let kafka = KafkaConfig {
            bootstrap_servers: servers.split(',').map(str::to_owned).collect(),
            prefix: format!("{ulid}.").to_lowercase(),
            allow_single_replica: true,
            ..KafkaConfig::default()
        };
        let specs = [TOPIC.to_owned(), format!("{TOPIC}.dlq")].map(|name| TopicSpec {
            name,
            partitions: LANES,
            settings: Vec::new(),
        });
        topics::create(&kafka, 1, &specs).await.expect("topics");
        let bus = KafkaEventBus::open(&kafka, KafkaBusOptions::default()).expect("a client");
        Self {
            scratch: Scratch::new().await.expect("a PostgreSQL server"),
            kafka,
            bus,
            others: Others::default(),
        }
    }

    pub(crate) async fn start(&self) -> Running {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (kafka, postgres) = (self.kafka.clone(), self.scratch.config().clone());
        let others = self.others.clone();
        let starting = runtime.spawn(start(kafka, postgres, others));
        Running {
            process: Some(starting.await.expect("starts")),
            runtime: Some(runtime),
        }
    }

    /// As the storage-writer does, once the store has them.
    pub(crate) async fn publish(&self, events: &[EventHeader]) {
        let records = events
            .iter()
            .map(|it| (Bytes::from(it.conversation_id.clone()), encode(it)));
        let published = self.bus.publish_batch(TOPIC, records.collect()).await;
        published.expect("publishes");
    }

    /// Publishes what the log has from there on, and says up to where.
    pub(crate) async fn publish_from(&self, from: usize) -> usize {
        let events = self.others.events.lock().await.clone();
        self.publish(&events[from..]).await;
        events.len()
    }
}

async fn start(kafka: KafkaConfig, postgres: PostgresConfig, others: Others) -> Process {
    let config = SessionConfig {
        submit_timeout_ms: 200,
        ..SessionConfig::default()
    };
    let build = async |platform: &_| {
        let opened = adapters_of_cluster(&config, platform, &postgres).await?;
        build_on(&config, platform, opened).await
    };
    let adapters = Box::new(Cluster(kafka));
    Process::built(PathBuf::new(), adapters, &others, build).await
}

impl Running {
    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }

    /// An inbox, asked for again while it is not to be had.
    pub(crate) async fn sync(&self, who: &str, token: &str) -> SyncInboxResponse {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = flare_proto::session::SyncInboxRequest {
                context: user(who),
                token: token.into(),
                page_size: None,
            };
            let mut client = self.process().client.clone();
            match answer(client.sync_inbox(request).await) {
                Err(refusal) if refusal.is_retryable() && Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                answer => return answer.expect("answers"),
            }
        }
    }

    /// All pages from the token on, and the last token.
    pub(crate) async fn sync_all(
        &self,
        who: &str,
        token: &str,
    ) -> (Vec<flare_proto::session::InboxEntry>, String) {
        let mut page = self.sync(who, token).await;
        let mut entries = page.entries;
        while page.has_more {
            page = self.sync(who, &page.token).await;
            entries.append(&mut page.entries);
        }
        (entries, page.token)
    }

    pub(crate) async fn stop(mut self) {
        let process = self.process.take().expect("it runs");
        let runtime = self.runtime.take().expect("it runs");
        let stopped = runtime.spawn(process.stop()).await;
        stopped.expect("ends in order");
        runtime.shutdown_background();
    }

    /// It ends in the middle of everything.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
