//! A reader over a store of its own, and those who ask it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    message::{Event, EventHeader},
    storage::{
        HistoryRequest, HistoryResponse, RangeResult, ReadRange, ReadRangesRequest,
        history_request::Position, storage_reader_service_client::StorageReaderServiceClient,
        storage_reader_service_server::StorageReaderServiceServer,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, EmbeddedMessageStore, EmbeddedStoreOptions};
use flare_storage_reader::{
    application::{
        access::Access,
        history::History,
        locate::Locate,
        ports::{LogPlace, LogPlaces, Shown, Visibility, Visible},
        ranges::Ranges,
    },
    handler::grpc::Grpc,
};
use prost::Message;
use tempfile::TempDir;
use ulid::Ulid;

use crate::talk::Talk;

pub(crate) type Client = StorageReaderServiceClient<StorageReaderServiceServer<Grpc>>;

/// Bytes of an answer's events.
pub(crate) const MAX_BYTES: usize = 100_000;
/// Ranges of a call.
pub(crate) const MAX_RANGES: usize = 3;

/// Who may read which group, answer by answer, the last one for ever: who is not named is a stranger, a group that nobody is named for is unknown.
#[derive(Default)]
struct Members(Mutex<HashMap<(String, String), VecDeque<Shown>>>);

#[async_trait]
impl Visibility for Members {
    async fn visible(
        &self,
        user: &str,
        conversations: &[ConversationKey],
    ) -> Result<Vec<Shown>, Refusal> {
        let mut members = self.0.lock().unwrap();
        let mut of = |key: &ConversationKey| {
            let group = key.to_string();
            let is_known = members.keys().any(|(it, _)| *it == group);
            let stranger = if is_known {
                Visible::Nothing
            } else {
                Visible::Unknown
            };
            let as_of = u64::MAX;
            let stranger = Shown {
                visible: stranger,
                as_of,
            };
            match members.get_mut(&(group, user.to_owned())) {
                Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
                Some(answers) => answers[0],
                None => stranger,
            }
        };
        Ok(conversations.iter().map(&mut of).collect())
    }
}

/// What the log says of each message; of others it says that they are nowhere.
#[derive(Default)]
struct Log(Mutex<HashMap<String, Result<LogPlace, Refusal>>>);

#[async_trait]
impl LogPlaces for Log {
    async fn find(&self, _: &str, message_id: Ulid) -> Result<Option<LogPlace>, Refusal> {
        let places = self.0.lock().unwrap();
        places.get(&message_id.to_string()).cloned().transpose()
    }
}

pub(crate) struct Ground {
    pub(crate) client: Client,
    /// Of the tenant "default".
    pub(crate) talk: Talk,
    /// Of the tenant "other".
    pub(crate) other: Talk,
    members: Arc<Members>,
    log: Arc<Log>,
    _folder: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = EmbeddedStoreOptions::default();
        let store = Arc::new(EmbeddedMessageStore::open(folder.path(), options).unwrap());
        let (members, log) = (Arc::<Members>::default(), Arc::<Log>::default());
        let access = Access {
            store: store.clone(),
            visibility: members.clone(),
        };
        let grpc = Grpc {
            ranges: Ranges {
                access: access.clone(),
                max_bytes: MAX_BYTES,
            },
            history: History {
                access: access.clone(),
                max_bytes: MAX_BYTES,
            },
            locate: Locate {
                access,
                log: log.clone(),
            },
            max_ranges: MAX_RANGES,
        };
        Self {
            client: StorageReaderServiceClient::new(StorageReaderServiceServer::new(grpc)),
            talk: Talk::new(store.clone(), "default", 1),
            other: Talk::new(store, "other", 2),
            members,
            log,
            _folder: folder,
        }
    }

    /// From now on the group shows the user this much.
    pub(crate) fn show(&self, user: &str, group: &str, from: u64, to: u64) {
        self.show_as_of(user, group, &[(from, to, u64::MAX)]);
    }

    /// From now on the group shows the user this much, as of a seq: one after the other, the last one for ever.
    pub(crate) fn show_as_of(&self, user: &str, group: &str, answers: &[(u64, u64, u64)]) {
        let key = ConversationKey::new("default", group).to_string();
        let shown = |&(from, to, as_of): &(u64, u64, u64)| Shown {
            visible: Visible::Between { from, to },
            as_of,
        };
        let mut members = self.members.0.lock().unwrap();
        members.insert((key, user.to_owned()), answers.iter().map(shown).collect());
    }

    /// From now on the log says this of a message.
    pub(crate) fn in_log(&self, message_id: &str, place: Result<LogPlace, Refusal>) {
        let mut places = self.log.0.lock().unwrap();
        places.insert(message_id.to_owned(), place);
    }

    /// What follows a seq.
    pub(crate) async fn sync(
        &self,
        who: RequestContext,
        conversation: &str,
        after_seq: u64,
        limit: u32,
    ) -> Result<RangeResult, Refusal> {
        let request = ReadRangesRequest {
            context: Some(who),
            ranges: vec![range(conversation, after_seq, limit)],
        };
        let answer = self.client.clone().read_ranges(request).await?;
        let mut range = answer.into_inner().ranges.remove(0);
        match range.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(range),
        }
    }

    /// A page of messages.
    pub(crate) async fn page(
        &self,
        who: RequestContext,
        conversation: &str,
        position: Option<Position>,
        page_size: u32,
        page_token: &str,
    ) -> Result<HistoryResponse, Refusal> {
        let request = HistoryRequest {
            context: Some(who),
            conversation_id: conversation.to_owned(),
            position,
            page_size: Some(page_size),
            page_token: page_token.to_owned(),
        };
        Ok(self.client.clone().history(request).await?.into_inner())
    }
}

pub(crate) fn range(conversation: &str, after_seq: u64, limit: u32) -> ReadRange {
    ReadRange {
        conversation_id: conversation.to_owned(),
        after_seq,
        limit: Some(limit),
    }
}

fn context(kind: ActorKind, tenant: &str, user: &str) -> RequestContext {
    RequestContext {
        actor: Some(Actor {
            kind: kind.into(),
            user_id: user.to_owned(),
            ..Actor::default()
        }),
        tenant: Some(TenantContext {
            tenant_id: tenant.to_owned(),
        }),
        ..RequestContext::default()
    }
}

/// A user of the tenant "default".
pub(crate) fn user(name: &str) -> RequestContext {
    context(ActorKind::User, "default", name)
}

/// The system of the tenant "default".
pub(crate) fn system() -> RequestContext {
    system_of("default")
}

/// The system of a tenant.
pub(crate) fn system_of(tenant: &str) -> RequestContext {
    context(ActorKind::System, tenant, "")
}

pub(crate) fn header(event: &Bytes) -> EventHeader {
    Event::decode(event.clone()).unwrap().header.unwrap()
}

pub(crate) fn seqs(events: &[Bytes]) -> Vec<u64> {
    events.iter().map(|it| header(it).seq).collect()
}

pub(crate) fn seqs_of(page: &HistoryResponse) -> Vec<u64> {
    page.messages
        .iter()
        .map(|it| header(&it.event).seq)
        .collect()
}

pub(crate) fn code<T>(outcome: Result<T, Refusal>) -> ErrorCode {
    match outcome {
        Ok(_) => ErrorCode::Unspecified,
        Err(refusal) => refusal.code,
    }
}
