//! The service with a log, a clock and devices that tests decide.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    message::{HistoryVisibility, Role},
    session::{
        AddMembersRequest, AuthorizeItem, AuthorizeRequest, ConversationResponse,
        CreateConversationRequest, DisbandConversationRequest, InboxEntry,
        LeaveConversationRequest, MarkReadRequest, MarkReadResponse, Membership,
        RemoveMemberRequest, RenameConversationRequest, SetRoleRequest, SyncInboxRequest,
        SyncInboxResponse, TransferOwnershipRequest, session_service_server::SessionService,
    },
};
use flare_server_core::{
    clock::{IdSource, ManualClock},
    error::Refusal,
    event_bus::{BatchHandler, Follower, Handled},
    shutdown::Shutdown,
    telemetry::Spans,
};
use flare_session::{
    SessionConfig,
    application::ports::{Signal, SignalSink, StreamProgress},
    handler::{
        events::{FollowedEvents, PersistedEvents},
        grpc::SessionHandler,
    },
    service::{Adapters, Session},
};
use tonic::{Request, Response, Status};

use super::{
    fake_log::{FakeLog, TENANT},
    lanes::{AlwaysCaughtUp, frontier, records},
    place::{Place, Store},
};

/// Long past any of this process; reached only by a test that fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct HeardSignals(pub(crate) Mutex<Vec<Signal>>);

#[async_trait]
impl SignalSink for HeardSignals {
    async fn send(&self, signals: &[Signal]) -> Result<(), Refusal> {
        self.0
            .lock()
            .expect("not poisoned")
            .extend_from_slice(signals);
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) place: Place,
    pub(crate) config: SessionConfig,
    pub(crate) log: Arc<FakeLog>,
    pub(crate) heard: Arc<HeardSignals>,
    pub(crate) session: Session,
    pub(crate) store: Arc<Store>,
    pub(crate) shutdown: Shutdown,
    /// How many events of the log the stream has brought.
    pub(crate) fed: usize,
    /// Where another process may have the same rows: how many of them the heads have followed.
    pub(crate) followed: AtomicUsize,
    starts: u64,
    progress: Arc<dyn StreamProgress>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(SessionConfig::default()).await
    }

    pub(crate) async fn with(config: SessionConfig) -> Self {
        let caught_up = Arc::new(AlwaysCaughtUp);
        Self::on(Place::fresh().await, Arc::default(), config, 0, caught_up).await
    }

    /// A process on these rows and this log. Its ids come from the seed.
    pub(crate) async fn on(
        place: Place,
        log: Arc<FakeLog>,
        config: SessionConfig,
        seed: u64,
        progress: Arc<dyn StreamProgress>,
    ) -> Self {
        let config = Place::configured(config);
        let heard = Arc::<HeardSignals>::default();
        let shutdown = Shutdown::new();
        let store = place.open().await;
        let start = Start {
            config: &config,
            log: &log,
            heard: &heard,
            shutdown: &shutdown,
            progress: &progress,
            seed,
        };
        let (session, store) = start.on(store).await;
        Self {
            place,
            config,
            log,
            heard,
            session,
            store,
            shutdown,
            fed: 0,
            followed: AtomicUsize::new(0),
            starts: seed,
            progress,
        }
    }

    /// Ends the service, in good order or by a crash, and starts it again.
    pub(crate) async fn restart(&mut self, clean: bool) {
        self.shutdown.drain();
        if clean {
            self.session.stream.end().await.expect("ends");
        }
        self.store.close().await;
        self.starts += 1;
        self.shutdown = Shutdown::new();
        let start = Start {
            config: &self.config,
            log: &self.log,
            heard: &self.heard,
            shutdown: &self.shutdown,
            progress: &self.progress,
            seed: self.starts,
        };
        let (session, store) = start.on(self.place.open().await).await;
        self.session = session;
        self.store = store;
        if self.session.is_shared() {
            self.begin_following(self.followed.load(Ordering::SeqCst));
            // What was not flushed comes again, and more perhaps.
            self.fed = if clean { self.fed } else { 0 };
        }
    }

    /// The heads begin to follow the stream behind so many events, and are given what it has brought since.
    pub(crate) fn begin_following(&self, at: usize) {
        self.session.heads.begin_anew(&frontier(&self.log, at));
        self.follow(at, self.followed.load(Ordering::SeqCst));
    }

    /// Brings these events to the heads.
    pub(crate) fn follow(&self, from: usize, to: usize) {
        let followed = FollowedEvents {
            heads: Arc::clone(&self.session.heads),
        };
        followed.take(&records(&self.log, from, to));
    }

    pub(crate) fn rpc(&self) -> &SessionHandler {
        &self.session.handler
    }

    /// Brings the stream to the log's end.
    pub(crate) async fn feed(&mut self) {
        let to = self.log.len();
        self.feed_range(self.fed, to).await;
        self.fed = to;
    }

    /// Brings these events, in one batch; again perhaps.
    pub(crate) async fn feed_range(&self, from: usize, to: usize) {
        if from < to {
            let batch = records(&self.log, from, to);
            let persisted = PersistedEvents {
                stream: Arc::clone(&self.session.stream),
                spans: Spans::default(),
            };
            assert_eq!(persisted.handle(&batch).await, Handled::Ok);
        }
        if self.session.is_shared() {
            let followed = self.followed.fetch_max(to, Ordering::SeqCst);
            self.follow(followed, to.max(followed));
        }
    }

    /// Writes the positions that wait.
    pub(crate) async fn write_positions(&self) {
        self.session.positions.flush().await.expect("writes");
        self.session.delivered.write().await.expect("writes");
    }

    pub(crate) async fn create(
        &self,
        owner: &str,
        id: &str,
        members: &[&str],
    ) -> ConversationResponse {
        self.try_create(owner, id, members, HistoryVisibility::All)
            .await
            .expect("creates")
    }

    pub(crate) async fn try_create(
        &self,
        owner: &str,
        id: &str,
        members: &[&str],
        history: HistoryVisibility,
    ) -> Result<ConversationResponse, Refusal> {
        let request = CreateConversationRequest {
            context: user(owner),
            client_id: format!("create-{id}"),
            conversation_id: id.into(),
            title: format!("title of {id}"),
            member_ids: members.iter().map(ToString::to_string).collect(),
            history_visibility: history.into(),
            ..CreateConversationRequest::default()
        };
        answer(self.rpc().create_conversation(Request::new(request)).await)
    }

    pub(crate) async fn rename(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
        title: &str,
    ) -> Result<u64, Refusal> {
        let request = RenameConversationRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
            title: title.into(),
        };
        answer(self.rpc().rename_conversation(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn add(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
        users: &[&str],
    ) -> Result<u64, Refusal> {
        let request = AddMembersRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
            user_ids: users.iter().map(ToString::to_string).collect(),
        };
        answer(self.rpc().add_members(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn remove(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
        whom: &str,
    ) -> Result<u64, Refusal> {
        let request = RemoveMemberRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
            user_id: whom.into(),
        };
        answer(self.rpc().remove_member(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn leave(&self, who: &str, client_id: &str, id: &str) -> Result<u64, Refusal> {
        let request = LeaveConversationRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
        };
        answer(self.rpc().leave_conversation(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn set_role(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
        whom: &str,
        role: Role,
    ) -> Result<u64, Refusal> {
        let request = SetRoleRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
            user_id: whom.into(),
            role: role.into(),
        };
        answer(self.rpc().set_role(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn transfer(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
        to: &str,
    ) -> Result<u64, Refusal> {
        let request = TransferOwnershipRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
            user_id: to.into(),
        };
        answer(self.rpc().transfer_ownership(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn disband(
        &self,
        who: &str,
        client_id: &str,
        id: &str,
    ) -> Result<u64, Refusal> {
        let request = DisbandConversationRequest {
            context: user(who),
            client_id: client_id.into(),
            conversation_id: id.into(),
        };
        answer(self.rpc().disband_conversation(Request::new(request)).await).map(|it| it.seq)
    }

    pub(crate) async fn membership(&self, id: &str, who: &str) -> Membership {
        let item = AuthorizeItem {
            tenant_id: TENANT.into(),
            conversation_id: id.into(),
            user_id: who.into(),
        };
        let request = AuthorizeRequest {
            context: None,
            items: vec![item],
        };
        let answer = answer(self.rpc().authorize(Request::new(request)).await).expect("answers");
        answer
            .memberships
            .into_iter()
            .next()
            .expect("one answer for one question")
    }

    pub(crate) async fn mark(
        &self,
        who: &str,
        id: &str,
        seq: u64,
    ) -> Result<MarkReadResponse, Refusal> {
        let request = MarkReadRequest {
            context: user(who),
            conversation_id: id.into(),
            seq,
        };
        answer(self.rpc().mark_read(Request::new(request)).await)
    }

    pub(crate) async fn sync(
        &self,
        who: &str,
        token: &str,
        page_size: u32,
    ) -> Result<SyncInboxResponse, Refusal> {
        let request = SyncInboxRequest {
            context: user(who),
            token: token.into(),
            page_size: Some(page_size),
        };
        answer(self.rpc().sync_inbox(Request::new(request)).await)
    }

    /// All pages from the token on, and the last token.
    pub(crate) async fn sync_all(
        &self,
        who: &str,
        token: &str,
        page_size: u32,
    ) -> (Vec<InboxEntry>, String) {
        let mut page = self.sync(who, token, page_size).await.expect("answers");
        let mut entries = page.entries;
        for _ in 0..10_000 {
            if !page.has_more {
                return (entries, page.token);
            }
            page = self
                .sync(who, &page.token, page_size)
                .await
                .expect("answers");
            entries.append(&mut page.entries);
        }
        panic!("the inbox of {who} does not end");
    }

    /// The entry of a conversation in a user's whole inbox.
    pub(crate) async fn entry(&self, who: &str, id: &str) -> InboxEntry {
        let (entries, _) = self.sync_all(who, "", 50).await;
        entries
            .into_iter()
            .find(|it| id_of(it) == id)
            .unwrap_or_else(|| panic!("{who} has no entry of {id}"))
    }
}

/// What a start takes.
struct Start<'a> {
    config: &'a SessionConfig,
    log: &'a Arc<FakeLog>,
    heard: &'a Arc<HeardSignals>,
    shutdown: &'a Shutdown,
    progress: &'a Arc<dyn StreamProgress>,
    seed: u64,
}

impl Start<'_> {
    /// Starts the service on the rows.
    async fn on(self, store: Arc<Store>) -> (Session, Arc<Store>) {
        let adapters = Adapters {
            conversations: Arc::clone(&store) as _,
            rosters: Arc::new(Place::rosters(&store, self.config.cached_members)),
            inboxes: Arc::clone(&store) as _,
            positions: Arc::clone(&store) as _,
            processes: Place::processes(&store).await,
            orchestrator: Arc::clone(self.log) as _,
            reader: Arc::clone(self.log) as _,
            progress: Arc::clone(self.progress),
            signals: Arc::clone(self.heard) as _,
            clock: Arc::new(ManualClock::at(1_000_000)),
            ids: Arc::new(IdSource::seeded(self.seed)),
            shutdown: self.shutdown.clone(),
        };
        let session = Session::new(self.config, adapters).await;
        (session.expect("starts"), store)
    }
}

pub(crate) fn context(kind: ActorKind, who: &str, device: &str) -> Option<RequestContext> {
    Some(RequestContext {
        actor: Some(Actor {
            kind: kind.into(),
            user_id: who.into(),
            device_id: device.into(),
        }),
        tenant: Some(TenantContext {
            tenant_id: TENANT.into(),
        }),
        ..RequestContext::default()
    })
}

pub(crate) fn user(who: &str) -> Option<RequestContext> {
    context(ActorKind::User, who, "phone")
}

pub(crate) fn answer<T>(result: Result<Response<T>, Status>) -> Result<T, Refusal> {
    result.map(Response::into_inner).map_err(Refusal::from)
}

pub(crate) fn id_of(entry: &InboxEntry) -> &str {
    entry
        .conversation
        .as_ref()
        .map(|it| it.conversation_id.as_str())
        .expect("an entry names its conversation")
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    outcome: Result<T, Refusal>,
    code: ErrorCode,
    field: &str,
) {
    let refusal = outcome.expect_err("is refused");
    assert_eq!((refusal.code, &*refusal.field), (code, field), "{refusal}");
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}
