//! Where a message went.

use flare_proto::{
    common::ErrorCode,
    gateway::{ExplainMessageRequest, ExplainMessageResponse},
    message::Event,
    session::{ListPositionsRequest, MemberPosition},
    storage::LocateRequest,
};
use flare_server_core::error::Refusal;
use prost::Message;
use ulid::Ulid;

use super::{Call, Calls};
use crate::domain::caller::shortened;

const PAGE_SIZE: u32 = 200;
/// Positions of more members than this are left out.
const MAX_POSITIONS: usize = 1_000;

impl Calls {
    /// A message's place, and how far each member of its conversation has received and read.
    pub(crate) async fn explain_message(
        &self,
        call: &Call,
        request: ExplainMessageRequest,
    ) -> Result<ExplainMessageResponse, Refusal> {
        let audit = call.audit("explain message", &request.message_id);
        let outcome = self.explain(call, request).await;
        audit.outcome(&outcome);
        outcome
    }

    async fn explain(
        &self,
        call: &Call,
        request: ExplainMessageRequest,
    ) -> Result<ExplainMessageResponse, Refusal> {
        if Ulid::from_string(&request.message_id).is_err() {
            let message = format!(
                "{:?} is no message id: they are ULIDs",
                shortened(&request.message_id)
            );
            return Err(Refusal::invalid("message_id", message));
        }
        let not_found = || {
            let message = format!("no message {}", request.message_id);
            Refusal::new(ErrorCode::MessageNotFound, message).with_field("message_id")
        };
        let locate = LocateRequest {
            context: request.context.clone(),
            message_id: request.message_id.clone(),
        };
        let found = self.reader.clone().locate(locate).await?.into_inner();
        let header = Event::decode(found.event.as_ref())
            .map_err(|error| {
                Refusal::internal(format!("event of {}: {error}", request.message_id))
            })?
            .header
            .ok_or_else(not_found)?;
        if header.tenant_id != call.caller.tenant {
            return Err(not_found());
        }
        Ok(ExplainMessageResponse {
            event: found.event,
            log_offset: found.log_offset,
            stored: !found.only_in_log,
            log: found.log,
            recalled: found.recalled,
            positions: self.positions(call, header.conversation_id).await?,
        })
    }

    async fn positions(
        &self,
        call: &Call,
        conversation_id: String,
    ) -> Result<Vec<MemberPosition>, Refusal> {
        let mut positions = Vec::new();
        let mut page_token = String::new();
        while positions.len() < MAX_POSITIONS {
            let request = ListPositionsRequest {
                context: Some(call.context(call.actor())),
                conversation_id: conversation_id.clone(),
                page_size: Some(PAGE_SIZE),
                page_token,
            };
            let page = match self
                .session
                .clone()
                .list_positions(request)
                .await
                .map_err(Refusal::from)
            {
                Ok(page) => page.into_inner(),
                // The rows of a new conversation follow its first event.
                Err(refusal) if refusal.code == ErrorCode::ConversationNotFound => break,
                Err(refusal) => return Err(refusal),
            };
            positions.extend(page.positions);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(positions)
    }
}
