//! Rosters from flare-session, checked against the committed head.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode, RequestContext, TenantContext},
    message::ConversationClass,
    session::{MembersRequest, session_service_client::SessionServiceClient},
    storage::{HeadsRequest, storage_reader_service_client::StorageReaderServiceClient},
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};
use tonic::Status;

use crate::{
    application::ports::{Found, PortError, RosterSource},
    domain::{event::Conversation, roster::Roster},
};

const DEADLINE: Duration = Duration::from_secs(5);

/// Asks `SessionService.Members` and `StorageReaderService.Heads`.
pub struct GrpcRosterSource {
    session: SessionServiceClient<ServiceChannel>,
    reader: StorageReaderServiceClient<ServiceChannel>,
}

impl GrpcRosterSource {
    /// Asks over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self {
            session: SessionServiceClient::new(channels.get(service::SESSION)),
            reader: StorageReaderServiceClient::new(channels.get(service::STORAGE_READER)),
        }
    }

    async fn find_in_time(
        &self,
        conversation: &Conversation,
        whole: bool,
    ) -> Result<Option<Found>, PortError> {
        tokio::time::timeout(DEADLINE, self.read(conversation, whole))
            .await
            .unwrap_or_else(|_| Err(behind("no answer in time")))
    }

    /// `whole`: also the members of a large conversation.
    async fn read(
        &self,
        conversation: &Conversation,
        whole: bool,
    ) -> Result<Option<Found>, PortError> {
        let context = Some(context(&conversation.tenant));
        let heads = HeadsRequest {
            context: context.clone(),
            conversation_ids: vec![conversation.id.clone()],
            without_last_messages: true,
        };
        let head = self
            .reader
            .clone()
            .heads(heads)
            .await
            .map_err(refused)?
            .into_inner()
            .heads
            .pop();
        let member_seq = head.as_ref().map_or(0, |it| it.member_seq);
        if !whole && head.is_some_and(|it| it.class() == ConversationClass::Large) {
            return Ok(Some(Found::Large { member_seq }));
        }

        let mut version = 0;
        let mut members = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = MembersRequest {
                context: context.clone(),
                tenant_id: conversation.tenant.clone(),
                conversation_id: conversation.id.clone(),
                known_version: 0,
                page_token,
            };
            let page = match self.session.clone().members(request).await {
                Ok(page) => page.into_inner(),
                Err(status) if is_unknown(&status) => return unknown(member_seq),
                Err(status) => return Err(refused(status)),
            };
            if !members.is_empty() && page.version != version {
                return Err(behind("the roster changed between two pages"));
            }
            version = page.version;
            let joined = page.joined_seqs.into_iter().chain(std::iter::repeat(0));
            members.extend(
                page.members
                    .into_iter()
                    .zip(joined)
                    .map(|(member, joined)| (member.user_id, joined)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if version < member_seq {
            // flare-session has not yet written the seq of a change that is committed.
            return Err(behind("the roster is older than the committed head"));
        }
        Ok(Some(Found::Members(Roster::new(version, members))))
    }
}

fn context(tenant: &str) -> RequestContext {
    RequestContext {
        actor: Some(Actor {
            kind: ActorKind::Service.into(),
            ..Actor::default()
        }),
        tenant: Some(TenantContext {
            tenant_id: tenant.to_owned(),
        }),
        ..RequestContext::default()
    }
}

/// What it means that flare-session knows nothing of a conversation whose last committed change of members is this; 0: there is none. The process that is asked may not see yet
/// what another one of the service has created, while the stream has its first event: that event has an audience, and waits for it.
fn unknown(member_seq: u64) -> Result<Option<Found>, PortError> {
    match member_seq {
        0 => Ok(None),
        _ => Err(behind(
            "flare-session does not know yet what is committed of the conversation",
        )),
    }
}

fn is_unknown(status: &Status) -> bool {
    matches!(
        Refusal::from(status.clone()).code,
        ErrorCode::ConversationNotFound | ErrorCode::NotFound
    )
}

fn refused(status: Status) -> PortError {
    PortError {
        what: "roster",
        why: status.message().to_owned(),
    }
}

fn behind(why: &str) -> PortError {
    PortError {
        what: "roster",
        why: why.to_owned(),
    }
}

#[async_trait]
impl RosterSource for GrpcRosterSource {
    async fn fetch(&self, conversation: &Conversation) -> Result<Option<Roster>, PortError> {
        Ok(match self.find_in_time(conversation, true).await? {
            Some(Found::Members(roster)) => Some(roster),
            Some(Found::Large { .. }) | None => None,
        })
    }

    async fn find(&self, conversation: &Conversation) -> Result<Option<Found>, PortError> {
        self.find_in_time(conversation, false).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_that_is_committed_is_waited_for() {
        assert!(unknown(1).is_err());
        assert!(matches!(unknown(0), Ok(None)));
    }
}
