//! One process: the service, the embedded log and store, and a stand-in for storage-writer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use flare_message_orchestrator::{
    application::ports::PreSendHook, config::OrchestratorConfig, service,
};
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode},
    message::{
        Content, ConversationChange, ConversationClass, ConversationCreated, EventBody,
        EventHeader, EventKind, MembersAdded, Placed, RecallCommand, Receipt, SubmitItem, Text,
        content::Kind, event_body::Body,
        message_orchestrator_service_client::MessageOrchestratorServiceClient, receipt,
        submit_item,
    },
};
use flare_server_core::{
    channels::ServiceChannel,
    embedded::{EmbeddedAdapters, EmbeddedLogConfig},
    message_log::MessageLog,
    platform::{Platform, PlatformParts},
    registry::{self, StaticRegistry},
    servers::Shape,
    shutdown::Shutdown,
};
use flare_storage_model::{
    Applied, ConversationKey, MessageStore, StoreBatch, apply, decode_header, open_store, record,
};
use prost::Message;
use tempfile::TempDir;
use tokio::task::JoinSet;

pub(crate) fn config() -> OrchestratorConfig {
    OrchestratorConfig::default()
}

pub(crate) struct Deployment {
    platform: Platform,
    tasks: JoinSet<()>,
    store: Arc<dyn MessageStore>,
    folder: TempDir,
}

impl Deployment {
    pub(crate) async fn start(config: OrchestratorConfig) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config, Vec::new()).await
    }

    pub(crate) async fn start_in(
        folder: TempDir,
        config: OrchestratorConfig,
        hooks: Vec<Arc<dyn PreSendHook>>,
    ) -> Self {
        Self::start_with(folder, config, hooks, 1 << 20).await
    }

    /// No disk has as much room as this one wants.
    pub(crate) async fn start_on_full_disk(folder: TempDir) -> Self {
        Self::start_with(folder, config(), Vec::new(), 1 << 60).await
    }

    async fn start_with(
        folder: TempDir,
        config: OrchestratorConfig,
        hooks: Vec<Arc<dyn PreSendHook>>,
        min_free_bytes: u64,
    ) -> Self {
        let shutdown = Shutdown::new();
        let data = folder.path().to_owned();
        let log = EmbeddedLogConfig {
            segment_bytes: 4 << 20,
            min_free_bytes,
            ..EmbeddedLogConfig::default()
        };
        let platform = Platform::new(PlatformParts {
            shape: Shape::Embedded,
            data: data.clone(),
            adapters: Box::new(EmbeddedAdapters::new(data, &log, shutdown.clone())),
            registry: Arc::new(StaticRegistry::default()),
            peer_secret: None,
            peer_tls: None,
            addresses: Default::default(),
            edge: None,
            development_sign_in: false,
            shutdown,
            spans: Default::default(),
            listeners: HashMap::new(),
        });
        let mut parts = service::build_with_hooks(&config, &platform, hooks)
            .await
            .expect("builds");
        platform
            .channels
            .serve_local(parts.routes.remove(0), parts.services, None);
        let store = open_store(&platform).await.expect("opens");
        let mut tasks = JoinSet::new();
        for task in parts.tasks {
            tasks.spawn(async move { task.run.await.expect("no error") });
        }
        let (log, writes, shutdown) = (
            platform.message_log().await.expect("opens"),
            Arc::clone(&store),
            platform.shutdown.clone(),
        );
        tasks.spawn(async move {
            shutdown.or_drain(write(log, writes)).await;
        });
        tokio::time::timeout(Duration::from_secs(20), platform.readiness.all_ready())
            .await
            .expect("ready in time")
            .expect("ready");
        Self {
            platform,
            tasks,
            store,
            folder,
        }
    }

    pub(crate) fn client(&self) -> MessageOrchestratorServiceClient<ServiceChannel> {
        MessageOrchestratorServiceClient::new(
            self.platform.channels.get(registry::service::ORCHESTRATOR),
        )
    }

    /// The conversation's events, once the store has what the log has.
    pub(crate) async fn events(&self, conversation: &str) -> Vec<EventHeader> {
        let log = self.platform.message_log().await.unwrap();
        let end = log.durable_end(0).await.unwrap();
        self.store.wait_beyond(0, end - 1).await.unwrap();
        let key = ConversationKey::new("default", conversation);
        let events = self.store.range(&key, 0, 100, 1 << 20).await.unwrap();
        events
            .into_iter()
            .map(|it| decode_header(it).unwrap())
            .collect()
    }

    /// Ends it as a signal would; gives the data folder.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.platform.shutdown.drain();
        let ended = async {
            while self
                .tasks
                .join_next()
                .await
                .transpose()
                .expect("no panic")
                .is_some()
            {}
        };
        tokio::time::timeout(Duration::from_secs(20), ended)
            .await
            .expect("drains");
        self.folder
    }
}

/// Folds the log into the store, as storage-writer does.
async fn write(log: Arc<dyn MessageLog>, store: Arc<dyn MessageStore>) {
    let mut state = store.cursor(0).await.unwrap();
    loop {
        let page = log.read(0, state.next_offset, 1 << 20).await.unwrap();
        if page.records.is_empty() {
            let Ok(_) = log.wait_beyond(0, state.next_offset).await else {
                return;
            };
            continue;
        }
        let from = state;
        let mut events = Vec::new();
        for (offset, bytes) in page.records {
            let record = record::decode(bytes).unwrap();
            if let Applied::Group(group) = apply(&mut state, offset, &record) {
                events.extend_from_slice(group);
            }
        }
        let mut heads = HashMap::new();
        for event in &events {
            if !heads.contains_key(event.key()) {
                let head = store
                    .heads(&[event.key().clone()])
                    .await
                    .unwrap()
                    .remove(0)
                    .unwrap_or_default();
                heads.insert(event.key().clone(), head);
            }
            heads
                .get_mut(event.key())
                .unwrap()
                .apply(event.header())
                .expect("the next event");
        }
        let heads = heads.into_iter().collect();
        store
            .commit(Arc::new(StoreBatch {
                partition: 0,
                from,
                to: state,
                events,
                heads,
            }))
            .await
            .unwrap();
    }
}

fn item(sender: &str, peer: &str, client_id: &str, command: submit_item::Command) -> SubmitItem {
    SubmitItem {
        tenant_id: "default".into(),
        actor: Some(Actor {
            kind: ActorKind::User.into(),
            user_id: sender.into(),
            device_id: "phone".into(),
        }),
        peer_user_id: peer.into(),
        client_id: client_id.into(),
        command: Some(command),
        ..SubmitItem::default()
    }
}

/// A text that says its client id.
pub(crate) fn text(sender: &str, peer: &str, client_id: &str) -> SubmitItem {
    let content = Content {
        kind: Some(Kind::Text(Text {
            text: client_id.into(),
        })),
        ..Content::default()
    };
    item(
        sender,
        peer,
        client_id,
        submit_item::Command::Send(content.encode_to_vec().into()),
    )
}

pub(crate) fn recall(sender: &str, seq: u64, client_id: &str) -> SubmitItem {
    item(
        sender,
        "",
        client_id,
        submit_item::Command::Recall(RecallCommand { seq }),
    )
}

fn change(conversation: &str, client_id: &str, kind: EventKind, body: Body) -> SubmitItem {
    let body = EventBody { body: Some(body) }.encode_to_vec().into();
    let change = ConversationChange {
        kind: kind.into(),
        class: ConversationClass::Group.into(),
        body,
    };
    SubmitItem {
        actor: Some(Actor {
            kind: ActorKind::Service.into(),
            ..Actor::default()
        }),
        conversation_id: conversation.into(),
        ..item("", "", client_id, submit_item::Command::Change(change))
    }
}

pub(crate) fn created(conversation: &str, client_id: &str) -> SubmitItem {
    let body = Body::ConversationCreated(ConversationCreated::default());
    change(
        conversation,
        client_id,
        EventKind::ConversationCreated,
        body,
    )
}

pub(crate) fn added(conversation: &str, client_id: &str) -> SubmitItem {
    change(
        conversation,
        client_id,
        EventKind::MembersAdded,
        Body::MembersAdded(MembersAdded::default()),
    )
}

pub(crate) fn is_placed(receipt: &Receipt) -> bool {
    matches!(receipt.result, Some(receipt::Result::Placed(_)))
}

pub(crate) fn placed(receipt: &Receipt) -> Placed {
    match &receipt.result {
        Some(receipt::Result::Placed(placed)) => placed.clone(),
        other => panic!("not placed: {other:?}"),
    }
}

pub(crate) fn code(receipt: &Receipt) -> ErrorCode {
    match &receipt.result {
        Some(receipt::Result::Error(error)) => error.code(),
        other => panic!("not refused: {other:?}"),
    }
}
