//! Puts the service together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use flare_proto::storage::storage_writer_service_server::StorageWriterServiceServer;
use flare_server_core::{
    event_bus::{EventBus, RegisterError},
    message_log::{MessageLog, ReadError},
    platform::Platform,
    registry::service,
    service::{Parts, ServiceError, Task},
};
use flare_storage_model::{MessageStore, open_store};
use tonic::service::Routes;

use crate::{
    application::{
        find_in_log::LogSearch,
        follow::{CommitListener, FollowError, Follower},
    },
    config::StorageWriterConfig,
    domain::fold::Step,
    handler::grpc::Grpc,
    infrastructure::embedded_persisted_view::EmbeddedPersistedView,
};

/// The public stream of persisted events.
const PERSISTED_TOPIC: &str = "flare.im.message.persisted";

/// The embedded log has one partition.
const PARTITION: u32 = 0;

/// Opens log and store, applies to the store what it lacks, and offers the public stream and the service. Returns when the store has reached the log's end.
pub async fn build(
    config: &StorageWriterConfig,
    platform: &Platform,
) -> Result<Parts, ServiceError> {
    let ready = platform.readiness.register("storage-writer");
    let log = platform.message_log().await?;
    let store = open_store(platform).await?;
    let bus = platform.event_bus().await?;
    let floor = log.floor(PARTITION).await?;
    let view = Arc::new(EmbeddedPersistedView::new(
        PARTITION,
        Arc::clone(&log),
        floor,
        store.cursor(PARTITION).await?,
        config.view_memory_bytes,
    ));
    let trimmer = Arc::new(Trimmer {
        log: Arc::clone(&log),
        store: Arc::clone(&store),
        bus: Arc::clone(&bus),
        view: Arc::clone(&view),
        moved: tokio::sync::Notify::new(),
        interval: Duration::from_millis(config.trim_interval_ms),
    });
    let search = LogSearch::new(PARTITION, Arc::clone(&log), Arc::clone(&store));
    let ending = Arc::clone(&store);
    platform.at_end(Task::new("storage-writer.close", async move {
        Ok(ending.close().await?)
    }));
    let mut follower = Follower::open(
        PARTITION,
        log,
        store,
        Arc::clone(&trimmer) as Arc<dyn CommitListener>,
        Arc::clone(&platform.clock),
        platform.spans.clone(),
        config.max_batch_bytes,
    )
    .await
    .map_err(|error| -> ServiceError {
        let log = platform.data_root().join("log");
        match error {
            FollowError::LogEndsBeforeStore { .. } => format!("{}: {error}", log.display()).into(),
            FollowError::Log(ReadError::Trimmed { .. }) => format!(
                "{}: {error}, and the store beside it has less than that: restore the whole data folder from one backup",
                log.display()
            )
            .into(),
            error => error.into(),
        }
    })?;
    follower.catch_up().await?;
    match bus
        .register_view(PERSISTED_TOPIC, Arc::clone(&view) as _)
        .await
    {
        Ok(()) => {}
        Err(RegisterError::Unsupported(topic)) => {
            return Err(
                format!("the event bus cannot show {topic} as a view of the embedded log").into(),
            );
        }
        Err(error) => return Err(error.into()),
    }
    ready.set(true);

    let shutdown = platform.shutdown.clone();
    let follow = Task::new("storage-writer.follow", async move {
        let _ready = ready;
        follower.follow(&shutdown).await.map_err(|error| {
            // What the log says cannot be applied: nothing may go on beside it.
            shutdown.fail(format!("storage-writer stopped: {error}"));
            error.into()
        })
    });
    let shutdown = platform.shutdown.clone();
    let trim = Task::new("storage-writer.trim", async move {
        shutdown.or_drain(trimmer.run()).await;
        Ok(())
    });
    Ok(Parts {
        routes: vec![Routes::new(StorageWriterServiceServer::new(Grpc {
            search,
        }))],
        services: vec![service::STORAGE_WRITER],
        tasks: vec![follow, trim],
        ..Parts::default()
    })
}

/// Shows commits in the view, and gives back to the log what nobody will ask for again.
struct Trimmer {
    log: Arc<dyn MessageLog>,
    store: Arc<dyn MessageStore>,
    bus: Arc<dyn EventBus>,
    view: Arc<EmbeddedPersistedView>,
    moved: tokio::sync::Notify,
    interval: Duration,
}

impl CommitListener for Trimmer {
    fn committed(&self, step: &Step) {
        self.view.committed(step);
        self.moved.notify_one();
    }
}

impl Trimmer {
    /// Looks after commits, at most once an interval; an idle log has no timer.
    async fn run(&self) {
        loop {
            self.moved.notified().await;
            let begun = Instant::now();
            if let Err(error) = self.trim().await {
                tracing::warn!(%error, "the log was not trimmed; trying again after later commits");
            }
            tokio::time::sleep(self.interval.saturating_sub(begun.elapsed())).await;
        }
    }

    async fn trim(&self) -> Result<(), ServiceError> {
        let stored = self.store.synced_cursor(PARTITION).await?.next_offset;
        let consumed = self
            .bus
            .lowest_cursor(PERSISTED_TOPIC)
            .await?
            .map(EmbeddedPersistedView::offset_of);
        let released = consumed.map_or(stored, |consumed| stored.min(consumed));
        self.log.trim(PARTITION, released, stored).await?;
        let floor = self.log.floor(PARTITION).await?;
        self.view.trimmed(floor);
        metrics::gauge!("flare_storage_writer_log_floor_offset").set(floor as f64);
        Ok(())
    }
}
