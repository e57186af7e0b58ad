//! `flare.storage.v1.StorageReaderService`.

use bytes::Bytes;
use flare_proto::{
    common::{ActorKind, RequestContext},
    message,
    storage::{
        self, HeadsRequest, HeadsResponse, HistoryRequest, HistoryResponse, LocateRequest,
        LocateResponse, LogPresence, RangeResult, ReadRangesRequest, ReadRangesResponse,
        SnapshotRequest, SnapshotResponse, history_request,
        storage_reader_service_server::StorageReaderService,
    },
};
use flare_server_core::error::Refusal;
use flare_storage_model::{ConversationKey, Head, MessageRow};
use prost::Message;
use tonic::{Request, Response, Status};
use ulid::Ulid;

use crate::{
    application::{
        access::Reader,
        history::{History, Page},
        locate::{InLog, Locate, Located},
        ports::store_refusal,
        ranges::{Range, RangeQuery, Ranges},
        room::Room,
    },
    domain::page::{PageToken, Position, page_size},
};

/// Conversations that services may ask the heads of in one call.
const MAX_HEADS: usize = 10_000;

/// The service's gRPC side.
pub struct Grpc {
    /// Runs of events.
    pub ranges: Ranges,
    /// Pages.
    pub history: History,
    /// Where messages went.
    pub locate: Locate,
    /// Conversations that one call may ask for.
    pub max_ranges: usize,
}

type Answer<T> = Result<Response<T>, Status>;

/// The tenant, and who reads.
fn reader(context: Option<RequestContext>) -> Result<(String, Reader), Refusal> {
    let context = context.ok_or_else(|| Refusal::invalid("context", "context is missing"))?;
    let tenant = context
        .tenant
        .ok_or_else(|| Refusal::invalid("context.tenant", "nobody's tenant"))?
        .tenant_id;
    let actor = context.actor.unwrap_or_default();
    match actor.kind() {
        ActorKind::User | ActorKind::Api => Ok((tenant, Reader::User(actor.user_id))),
        ActorKind::System | ActorKind::Service => Ok((tenant, Reader::System)),
        ActorKind::Unspecified => Err(Refusal::invalid("context.actor.kind", "nobody asks")),
    }
}

fn key(tenant: &str, conversation: &str, field: &'static str) -> Result<ConversationKey, Refusal> {
    flare_proto::ids::check_conversation_id(conversation)
        .map_err(|error| Refusal::invalid(field, error.to_string()))?;
    Ok(ConversationKey::new(tenant, conversation))
}

fn shown(conversation_id: String, range: Result<Range, Refusal>) -> RangeResult {
    let range = range.and_then(|range| Ok((events(&range)?, range)));
    match range {
        Ok((events, range)) => RangeResult {
            conversation_id,
            events,
            head_seq: range.head_seq,
            floor_seq: range.floor_seq,
            has_more: range.has_more,
            error: None,
        },
        Err(refusal) => RangeResult {
            conversation_id,
            error: Some(refusal.into()),
            ..RangeResult::default()
        },
    }
}

/// The events' bytes as they were written, but for recalled messages: their bodies stay here.
fn events(range: &Range) -> Result<Vec<Bytes>, Refusal> {
    let mut events = range.events.clone();
    for seq in &range.recalled {
        let index = seq.checked_sub(range.first_seq).map(usize::try_from);
        if let Some(Ok(index)) = index
            && let Some(event) = events.get_mut(index)
        {
            *event = without_body(event.clone())?;
        }
    }
    Ok(events)
}

/// A message as it stands: of a recalled one the body stays here.
fn message(row: MessageRow) -> Result<storage::Message, Refusal> {
    let recalled_by_seq = row.recalled_by_seq.unwrap_or_default();
    let event = if recalled_by_seq == 0 {
        row.event
    } else {
        without_body(row.event)?
    };
    Ok(storage::Message {
        event,
        recalled: recalled_by_seq > 0,
        recalled_by_seq,
    })
}

fn without_body(event: Bytes) -> Result<Bytes, Refusal> {
    let mut event = message::Event::decode(event).map_err(Refusal::internal)?;
    event.body = Bytes::new();
    Ok(event.encode_to_vec().into())
}

fn located(found: Located) -> Result<LocateResponse, Refusal> {
    let (log, log_offset) = match found.log {
        InLog::At(offset) => (LogPresence::InLog, Some(offset)),
        InLog::Trimmed => (LogPresence::Trimmed, None),
        InLog::Unreachable => (LogPresence::LogUnreachable, None),
        InLog::Untold => (LogPresence::Unspecified, None),
    };
    let event = if found.is_recalled {
        without_body(found.event)?
    } else {
        found.event
    };
    Ok(LocateResponse {
        event,
        recalled: found.is_recalled,
        log_offset,
        log: log.into(),
        only_in_log: !found.is_stored,
    })
}

fn history(page: Page, key: &ConversationKey) -> Result<HistoryResponse, Refusal> {
    Ok(HistoryResponse {
        messages: page
            .messages
            .into_iter()
            .map(message)
            .collect::<Result<_, _>>()?,
        head_seq: page.head_seq,
        floor_seq: page.floor_seq,
        next_page_token: page
            .next
            .map(|it| it.encode(&key.tenant, &key.conversation))
            .unwrap_or_default(),
    })
}

fn position(request: &HistoryRequest, key: &ConversationKey) -> Result<Position, Refusal> {
    use history_request::Position as Asked;
    if request.page_token.is_empty() {
        return Ok(match request.position {
            None => Position::Before(None),
            Some(Asked::BeforeSeq(seq)) => Position::Before(Some(seq)),
            Some(Asked::AfterSeq(seq)) => Position::After(seq),
            Some(Asked::AroundSeq(seq)) => Position::Around(seq),
            Some(Asked::FromTimeMs(time_ms)) => Position::FromTime(time_ms),
        });
    }
    if request.position.is_some() {
        return Err(Refusal::invalid(
            "page_token",
            "a page token goes on by itself: give no position beside it",
        ));
    }
    let token = PageToken::decode(&request.page_token, &key.tenant, &key.conversation)?;
    Ok(if token.older {
        Position::Before(Some(token.seq))
    } else {
        Position::After(token.seq)
    })
}

impl Grpc {
    async fn head(
        &self,
        key: &ConversationKey,
        head: Head,
        with_last_message: bool,
    ) -> Result<storage::Head, Refusal> {
        let last_message = match head.last_message.filter(|_| with_last_message) {
            Some(seq) => {
                let store = &self.ranges.access.store;
                store
                    .event(key, seq)
                    .await
                    .map_err(|error| store_refusal(&error))?
                    .unwrap_or_default()
            }
            None => Bytes::new(),
        };
        Ok(storage::Head {
            conversation_id: key.conversation.to_string(),
            seq: head.seq,
            ordinal: head.ordinal,
            time_ms: head.time_ms,
            member_seq: head.member_seq,
            class: head.class.into(),
            participants: head.participants,
            recalled_seqs: head.recalled,
            recalled_complete_from_seq: head.recalled_complete_from,
            mention_all_seq: head.mention_all_seq,
            last_message,
        })
    }
}

#[tonic::async_trait]
impl StorageReaderService for Grpc {
    async fn read_ranges(&self, request: Request<ReadRangesRequest>) -> Answer<ReadRangesResponse> {
        let request = request.into_inner();
        let (tenant, reader) = reader(request.context)?;
        let given = request.ranges.len();
        if given == 0 || given > self.max_ranges {
            let message = format!("{given} ranges: 1 to {} may be asked for", self.max_ranges);
            return Err(Refusal::invalid("ranges", message).into());
        }
        let mut queries = Vec::with_capacity(given);
        for range in &request.ranges {
            queries.push(RangeQuery {
                key: key(&tenant, &range.conversation_id, "ranges.conversation_id")?,
                after_seq: range.after_seq,
                limit: page_size(range.limit, "ranges.limit")?,
            });
        }
        let answers = self.ranges.read(&reader, queries).await?;
        let ids = request.ranges.into_iter().map(|it| it.conversation_id);
        let ranges = ids
            .zip(answers)
            .map(|(id, range)| shown(id, range))
            .collect();
        Ok(Response::new(ReadRangesResponse { ranges }))
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Answer<HistoryResponse> {
        let mut request = request.into_inner();
        let (tenant, reader) = reader(request.context.take())?;
        let key = key(&tenant, &request.conversation_id, "conversation_id")?;
        let size = page_size(request.page_size, "page_size")?;
        let position = position(&request, &key)?;
        let page = self
            .history
            .page(&reader, key.clone(), position, size)
            .await?;
        Ok(Response::new(history(page, &key)?))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Answer<SnapshotResponse> {
        let request = request.into_inner();
        let (tenant, reader) = reader(request.context)?;
        let key = key(&tenant, &request.conversation_id, "conversation_id")?;
        let size = page_size(request.page_size, "page_size")?;
        let page = self.history.snapshot(&reader, key, size).await?;
        Ok(Response::new(SnapshotResponse {
            as_of_seq: page.head_seq,
            messages: page
                .messages
                .into_iter()
                .map(message)
                .collect::<Result<_, _>>()?,
            floor_seq: page.floor_seq,
        }))
    }

    async fn heads(&self, request: Request<HeadsRequest>) -> Answer<HeadsResponse> {
        let request = request.into_inner();
        let (tenant, _) = reader(request.context)?;
        let given = request.conversation_ids.len();
        if given > MAX_HEADS {
            return Err(Refusal::invalid(
                "conversation_ids",
                format!("{given} conversations: at most {MAX_HEADS}"),
            )
            .into());
        }
        let keys: Vec<_> = request
            .conversation_ids
            .into_iter()
            .map(|id| ConversationKey::new(tenant.as_str(), id))
            .collect();
        let found = self
            .ranges
            .access
            .store
            .heads(&keys)
            .await
            .map_err(|error| Status::from(store_refusal(&error)))?;
        let mut room = Room::of_answer("heads", self.ranges.max_bytes);
        let mut response = HeadsResponse::default();
        for (key, head) in keys.iter().zip(found) {
            if let Some(head) = head {
                let head = self.head(key, head, !request.without_last_messages).await?;
                if !room.take(head.encoded_len()) {
                    room.count_cut();
                    break;
                }
                response.heads.push(head);
            }
            response.answered += 1;
        }
        Ok(Response::new(response))
    }

    async fn locate(&self, request: Request<LocateRequest>) -> Answer<LocateResponse> {
        let request = request.into_inner();
        let (tenant, reader) = reader(request.context)?;
        let message_id = Ulid::from_string(&request.message_id).map_err(|error| {
            Refusal::invalid(
                "message_id",
                format!("{:?} is no ULID: {error}", request.message_id),
            )
        })?;
        let found = self.locate.locate(&reader, &tenant, message_id).await?;
        Ok(Response::new(located(found)?))
    }
}
