//! Composes the service.

use std::{sync::Arc, time::Duration};

use flare_proto::message::message_orchestrator_service_server::MessageOrchestratorServiceServer;
use flare_server_core::{
    owners::{Announcing, Owners},
    platform::Platform,
    process::Hosted,
    registry::service,
    service::{Parts, ServiceError, Task},
};
use flare_storage_model::open::open_store;
use tokio::sync::mpsc;
use tonic::service::Routes;

use crate::{
    application::{
        hooks::HookChain,
        partition::{Partition, Surroundings},
        ports::{ContentRules, PreSendHook},
        rate_limits::RateLimits,
        streams::Streams,
        turns::Turns,
    },
    config::OrchestratorConfig,
    domain::owner::Owner,
    handler::{Contents, OrchestratorHandler},
    infrastructure::session_authority::SessionAuthority,
};

/// Batches of commands that wait for a partition's task; then their streams are not read.
const INBOX_BATCHES: usize = 1_024;
/// The largest batch on the wire: full of the largest contents, a stream's batch may well pass tonic's 4 MiB.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// The service, as a process runs it. Each message is shown to the hooks, in this order, before it gets its place.
pub fn hosted(config: OrchestratorConfig, hooks: Vec<Arc<dyn PreSendHook>>) -> Hosted {
    Hosted::inner(service::ORCHESTRATOR, async move |platform| {
        build_with_hooks(&config, &platform, hooks).await
    })
}

/// Builds the service without hooks.
pub async fn build(
    config: &OrchestratorConfig,
    platform: &Platform,
) -> Result<Parts, ServiceError> {
    build_with_hooks(config, platform, Vec::new()).await
}

/// Builds the service; each message is shown to the hooks, in this order, before it gets its place.
pub async fn build_with_hooks(
    config: &OrchestratorConfig,
    platform: &Platform,
    hooks: Vec<Arc<dyn PreSendHook>>,
) -> Result<Parts, ServiceError> {
    let rules: Arc<dyn ContentRules> = Arc::new(Contents {
        max_bytes: config.max_content_bytes,
        max_mentions: config.max_mentions,
    });
    let has_hooks = !hooks.is_empty();
    let hooks = HookChain::new(
        hooks,
        Arc::clone(&rules),
        Duration::from_millis(config.hook_timeout_ms),
    );
    let call_timeout = Duration::from_millis(config.call_timeout_ms);
    let limits = Arc::new(RateLimits::new(&config.rate));
    let incarnation = platform.ids.ulid(platform.clock.now_ms()).to_string();
    let log = platform.message_log().await?;
    let partitions = log.partitions();
    let (ownerships, announcing) = Announcing::new(
        platform.channels.clone(),
        incarnation,
        platform.endpoint(),
        partitions,
    );
    let around = Arc::new(Surroundings {
        log,
        store: open_store(platform).await?,
        authority: Arc::new(SessionAuthority::new(
            platform.channels.get(service::SESSION),
            call_timeout,
        )),
        hooks,
        turns: Turns::new(config.max_groups_per_s),
        limits: Arc::clone(&limits),
        ownerships,
        owners: Owners::of(platform).await?,
        endpoint: platform.endpoint().into(),
        clock: Arc::clone(&platform.clock),
        ids: Arc::clone(&platform.ids),
        shutdown: platform.shutdown.clone(),
        spans: platform.spans.clone(),
        call_timeout,
    });
    let owner_config = config.owner(owner_name(platform), has_hooks, around.log.is_shared());
    let mut inboxes = Vec::new();
    let mut tasks = Vec::new();
    for number in 0..partitions {
        let (inbox, deliveries) = mpsc::channel(INBOX_BATCHES);
        let owner = Owner::new(owner_config.clone(), platform.ids.random_u64());
        let ready = platform
            .readiness
            .register(format!("message-orchestrator partition {number}"));
        let partition = Partition::new(number, owner, Arc::clone(&around), deliveries, ready);
        tasks.push(Task::new("message-orchestrator.partition", partition.run()));
        inboxes.push(inbox);
    }
    tasks.push(Task::new("message-orchestrator.announcing", async move {
        announcing.run().await;
        Ok(())
    }));
    let streams = Streams::new(inboxes, limits, config.max_stream_items);
    let handler = OrchestratorHandler::new(streams, rules);
    let server = MessageOrchestratorServiceServer::new(handler)
        .max_decoding_message_size(MAX_BATCH_BYTES)
        .max_encoding_message_size(MAX_BATCH_BYTES);
    Ok(Parts {
        routes: vec![Routes::new(server)],
        services: vec![service::ORCHESTRATOR],
        tasks,
        edges: Vec::new(),
    })
}

/// What the log calls this process.
fn owner_name(platform: &Platform) -> &str {
    match platform.endpoint() {
        "" => "in process",
        endpoint => endpoint,
    }
}
