//! storage-reader over gRPC.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::{Actor, ActorKind, RequestContext, TenantContext},
    message::{Event, EventHeader},
    storage::{
        self, HeadsRequest, HistoryRequest, ReadRange, ReadRangesRequest, history_request,
        storage_reader_service_client::StorageReaderServiceClient,
    },
};
use flare_server_core::{channels::ServiceChannel, error::Refusal};
use prost::Message;

use super::within_deadline;
use crate::{
    application::ports::{StorageReader, StoredHead, StoredHeads},
    domain::{
        caller::UserKey,
        head::{Head, LastMessage},
    },
};

const READER: &str = "storage-reader";
/// storage-reader bounds its answers far below this; but one event always fits, however large it may be.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Asks storage-reader.
pub struct GrpcStorageReader {
    client: StorageReaderServiceClient<ServiceChannel>,
}

impl GrpcStorageReader {
    /// Over the channel.
    pub fn new(channel: ServiceChannel) -> Self {
        Self {
            client: StorageReaderServiceClient::new(channel)
                .max_decoding_message_size(MAX_ANSWER_BYTES),
        }
    }

    /// How many of the conversations, from the first on, are answered, and the heads of those that have events.
    async fn some_heads(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
        without_last_messages: bool,
    ) -> Result<(usize, Vec<storage::Head>), Refusal> {
        let request = HeadsRequest {
            context: Some(context(tenant, ActorKind::Service, "")),
            conversation_ids: conversations.iter().map(ToString::to_string).collect(),
            without_last_messages,
        };
        let answer = within_deadline(READER, self.client.clone().heads(request)).await?;
        let answered = match answer.answered as usize {
            // An earlier version does not say it: it answers all.
            0 => conversations.len(),
            answered => answered,
        };
        Ok((answered, answer.heads))
    }
}

#[async_trait]
impl StorageReader for GrpcStorageReader {
    async fn heads(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
    ) -> Result<StoredHeads, Refusal> {
        let (answered, heads) = self.some_heads(tenant, conversations, false).await?;
        let heads = heads
            .into_iter()
            .map(|head| Ok((Arc::from(head.conversation_id.as_str()), stored(head)?)))
            .collect::<Result<_, Refusal>>()?;
        Ok(StoredHeads { answered, heads })
    }

    async fn head_seqs(
        &self,
        tenant: &str,
        conversations: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, u64>, Refusal> {
        let (mut seqs, mut rest) = (HashMap::with_capacity(conversations.len()), conversations);
        while !rest.is_empty() {
            let (answered, heads) = self.some_heads(tenant, rest, true).await?;
            let heads = heads.into_iter();
            seqs.extend(heads.map(|head| (head.conversation_id.into(), head.seq)));
            rest = rest.get(answered..).unwrap_or_default();
        }
        Ok(seqs)
    }

    async fn ordinal_at(
        &self,
        user: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Option<u64>, Refusal> {
        let request = ReadRangesRequest {
            context: Some(context(&user.tenant, ActorKind::User, &user.user)),
            ranges: vec![ReadRange {
                conversation_id: conversation.to_owned(),
                after_seq: seq.saturating_sub(1),
                limit: Some(1),
            }],
        };
        let response = within_deadline(READER, self.client.clone().read_ranges(request)).await?;
        let Some(range) = response.ranges.into_iter().next() else {
            return Ok(None);
        };
        if let Some(error) = range.error {
            return Err(error.into());
        }
        let Some(event) = range.events.first() else {
            return Ok(None);
        };
        let header = header_of(event)?;
        Ok((header.seq == seq).then_some(header.ordinal))
    }

    async fn last_message(
        &self,
        user: &UserKey,
        conversation: &str,
        seq: u64,
    ) -> Result<Bytes, Refusal> {
        let request = HistoryRequest {
            context: Some(context(&user.tenant, ActorKind::User, &user.user)),
            conversation_id: conversation.to_owned(),
            position: Some(history_request::Position::BeforeSeq(seq + 1)),
            page_size: Some(1),
            page_token: String::new(),
        };
        let response = within_deadline(READER, self.client.clone().history(request)).await?;
        Ok(response
            .messages
            .into_iter()
            .next_back()
            .map(|it| it.event)
            .unwrap_or_default())
    }
}

fn context(tenant: &str, kind: ActorKind, user: &str) -> RequestContext {
    RequestContext {
        actor: Some(Actor {
            kind: kind.into(),
            user_id: user.to_owned(),
            device_id: String::new(),
        }),
        tenant: Some(TenantContext {
            tenant_id: tenant.to_owned(),
        }),
        ..RequestContext::default()
    }
}

fn stored(head: storage::Head) -> Result<StoredHead, Refusal> {
    let last_message = match head.last_message.is_empty() {
        true => None,
        false => {
            let header = header_of(&head.last_message)?;
            Some(LastMessage {
                seq: header.seq,
                sender: header.sender_id.into(),
                from_device: !header.sender_device_id.is_empty(),
                encoded: Some(head.last_message),
            })
        }
    };
    Ok(StoredHead {
        head: Head {
            seq: head.seq,
            ordinal: head.ordinal,
            time_ms: head.time_ms,
            member_seq: head.member_seq,
            recalled: head.recalled_seqs,
            recalled_complete_from: head.recalled_complete_from_seq,
            mention_all_seq: head.mention_all_seq,
            last_message,
        },
        participants: head.participants.into_iter().map(Arc::from).collect(),
    })
}

fn header_of(event: &Bytes) -> Result<EventHeader, Refusal> {
    Event::decode(event.clone())
        .map_err(|error| {
            Refusal::internal(format!("an event of the store does not decode: {error}"))
        })?
        .header
        .ok_or_else(|| Refusal::internal("an event of the store has no header"))
}
