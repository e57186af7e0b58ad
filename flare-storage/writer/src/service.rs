//! Puts the service together.

use std::{sync::Arc, time::Duration};

use flare_proto::storage::storage_writer_service_server::StorageWriterServiceServer;
use flare_server_core::{
    event_bus::{EventBus, RegisterError},
    message_log::{EMBEDDED_PARTITION, MessageLog, ReadError},
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, ServiceError, Task},
};
use flare_storage_model::{MessageStore, open_store};
use tonic::service::Routes;

use crate::{
    application::{
        around::{Around, Share},
        find_in_log::LogSearch,
        follow::FollowError,
        partitions::{Halt, Partitions, Stream},
        ports::PublishedCursors,
        publish::{PERSISTED_TOPIC, Publishing},
        published::Published,
        trim::{Consumed, Trimmer},
    },
    config::StorageWriterConfig,
    handler::grpc::Grpc,
    infrastructure::embedded_persisted_view::{EmbeddedPersistedView, ViewConsumers},
};

/// The service, as a process runs it.
pub fn hosted(config: StorageWriterConfig) -> Hosted {
    Hosted::inner(service::STORAGE_WRITER, async move |platform| {
        build(&config, &platform).await
    })
}

/// Opens log and store, applies to the store what it lacks, and offers the public stream and the service.
///
/// A log that nobody else has is shown as the public stream, and this returns when the store has reached its end. Of a log that processes share, what is
/// committed is published, and PostgreSQL keeps how far; what is assigned is worked on when the process runs.
pub async fn build(
    config: &StorageWriterConfig,
    platform: &Platform,
) -> Result<Parts, ServiceError> {
    let ready = platform.readiness.register("storage-writer");
    let log = platform.message_log().await?;
    let store = open_store(platform).await?;
    let bus = platform.event_bus().await?;
    let ending = Arc::clone(&store);
    platform.at_end(Task::new("storage-writer.close", async move {
        Ok(ending.close().await?)
    }));
    let search = LogSearch::new(Arc::clone(&log), Arc::clone(&store));
    let is_shared = log.is_shared();
    let around = Arc::new(Around::new(
        Arc::clone(&log),
        Arc::clone(&store),
        Arc::clone(&platform.clock),
        platform.spans.clone(),
        Share::new(config.max_batch_bytes, config.max_held_bytes),
    ));
    let interval = Duration::from_millis(config.trim_interval_ms);
    let with = |consumed: Arc<dyn Consumed>| {
        Arc::new(Trimmer::new(Arc::clone(&around), consumed, interval))
    };
    let (partitions, trimmer, publishing) = if is_shared {
        let published = Published::new(published_cursors(platform).await?);
        let publishing = Arc::new(Publishing { bus, published });
        let trimmer = with(Arc::clone(&publishing) as _);
        let stream = Stream::Published(Arc::clone(&publishing));
        let partitions = Partitions::new(Arc::clone(&around), stream, Arc::clone(&trimmer), ready);
        (partitions, trimmer, Some(publishing))
    } else {
        let view = view(config, &log, &*store).await?;
        let consumers = ViewConsumers {
            view: Arc::clone(&view),
            bus: Arc::clone(&bus),
        };
        let trimmer = with(Arc::new(consumers));
        let stream = Stream::View(Arc::clone(&view) as _);
        let mut partitions =
            Partitions::new(Arc::clone(&around), stream, Arc::clone(&trimmer), ready);
        let caught_up = partitions.catch_up().await;
        caught_up.map_err(|halt| of_folder(halt, platform))?;
        show(&*bus, view).await?;
        (partitions, trimmer, None)
    };
    Ok(Parts {
        routes: vec![Routes::new(StorageWriterServiceServer::new(Grpc {
            search,
        }))],
        services: vec![service::STORAGE_WRITER],
        tasks: tasks(platform, partitions, trimmer, publishing, around),
        ..Parts::default()
    })
}

/// How far each partition of a log that processes share is published.
async fn published_cursors(platform: &Platform) -> Result<Arc<dyn PublishedCursors>, ServiceError> {
    match platform.shape() {
        #[cfg(feature = "cluster")]
        flare_server_core::servers::Shape::Cluster(servers) => {
            use crate::infrastructure::postgres_published_cursors::PostgresPublishedCursors;
            let cursors = Arc::new(PostgresPublishedCursors::open(&servers.postgres).await?);
            let ending = Arc::clone(&cursors);
            platform.at_end(Task::new("storage-writer.cursors", async move {
                ending.close().await;
                Ok(())
            }));
            Ok(cursors)
        }
        other => Err(other.is_not_built().into()),
    }
}

/// What goes on while the process lives.
fn tasks(
    platform: &Platform,
    partitions: Partitions,
    trimmer: Arc<Trimmer>,
    publishing: Option<Arc<Publishing>>,
    around: Arc<Around>,
) -> Vec<Task> {
    let shutdown = platform.shutdown.clone();
    let follow = Task::new("storage-writer.follow", async move {
        partitions.run(&shutdown).await.map_err(|halt| {
            // What the log says cannot be applied: nothing may go on beside it.
            shutdown.fail(format!("storage-writer stopped: {halt}"));
            halt.into()
        })
    });
    let shutdown = platform.shutdown.clone();
    let trim = Task::new("storage-writer.trim", async move {
        shutdown.or_drain(trimmer.run()).await;
        Ok(())
    });
    let shutdown = platform.shutdown.clone();
    let lag = {
        let around = Arc::clone(&around);
        Task::new("storage-writer.lag", async move {
            shutdown.or_drain(around.lag.show(&*around.log)).await;
            Ok(())
        })
    };
    let mut tasks = vec![follow, trim, lag];
    if let Some(publishing) = publishing {
        let shutdown = platform.shutdown.clone();
        tasks.push(Task::new("storage-writer.published", async move {
            let keeping = publishing.published.keep(&around.outages);
            shutdown.or_drain(keeping).await;
            Ok(())
        }));
    }
    tasks
}

/// The view of the log as far as the store has it.
async fn view(
    config: &StorageWriterConfig,
    log: &Arc<dyn MessageLog>,
    store: &dyn MessageStore,
) -> Result<Arc<EmbeddedPersistedView>, ServiceError> {
    Ok(Arc::new(EmbeddedPersistedView::new(
        EMBEDDED_PARTITION,
        Arc::clone(log),
        log.floor(EMBEDDED_PARTITION).await?,
        store.cursor(EMBEDDED_PARTITION).await?,
        config.view_memory_bytes,
    )))
}

/// Offers the view as the public stream, when it has reached what consumers may have seen before.
async fn show(bus: &dyn EventBus, view: Arc<EmbeddedPersistedView>) -> Result<(), ServiceError> {
    match bus.register_view(PERSISTED_TOPIC, view).await {
        Ok(()) => Ok(()),
        Err(RegisterError::Unsupported(topic)) => {
            Err(format!("the event bus cannot show {topic} as a view of the embedded log").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Names the folder of the log that the process cannot begin with.
fn of_folder(halt: Halt, platform: &Platform) -> ServiceError {
    const RESTORE: &str = "restore the whole data folder from one backup";
    let log = platform.data_root().join("log");
    let log = log.display();
    let Halt::Follow(error) = halt else {
        return halt.into();
    };
    match *error {
        FollowError::LogEndsBeforeStore { .. } => format!("{log}: {error}: {RESTORE}").into(),
        FollowError::Log(ReadError::Trimmed { .. }) => {
            format!("{log}: {error}, and the store beside it has less than that: {RESTORE}").into()
        }
        _ => error.into(),
    }
}
