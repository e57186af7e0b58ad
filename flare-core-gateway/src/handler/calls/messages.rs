//! Messages on their way in.

use std::collections::HashMap;

use flare_core::check::{self, SEQ_LIMIT};
use flare_proto::{
    client::{Send, client_frame::Frame},
    common::{self, ErrorCode},
    gateway::{
        RecallMessageRequest, SendMessageRequest, SendMessageResponse, SendMessagesRequest,
        SendMessagesResponse, SendOutcome, send_outcome,
    },
    ids,
    message::{Placed, RecallCommand, SubmitItem, submit_item::Command},
};
use flare_server_core::error::Refusal;

use super::{Call, Calls};
use crate::handler::admission::{refuse_own, wire_actor};

/// Most messages of one batch.
pub(crate) const MAX_BATCH: usize = 200;

impl Calls {
    /// Sends one message.
    pub(crate) async fn send_message(
        &self,
        call: &Call,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, Refusal> {
        let item = self.send_item(call, request)?;
        let placed = self.submit_one(item).await?;
        Ok(SendMessageResponse {
            placed: Some(placed),
            trace_id: call.ids.trace_id.to_string(),
        })
    }

    /// Sends messages, each with an outcome of its own.
    pub(crate) async fn send_messages(
        &self,
        call: &Call,
        request: SendMessagesRequest,
    ) -> Result<SendMessagesResponse, Refusal> {
        let count = request.messages.len();
        if !(1..=MAX_BATCH).contains(&count) {
            return Err(Refusal::invalid(
                "messages",
                format!("{count} messages: 1 to {MAX_BATCH} are taken"),
            ));
        }
        self.admission.charge(&mut call.clone(), count)?;

        let mut items = Vec::with_capacity(count);
        let mut refused = HashMap::new();
        for (correlation, message) in (0_u64..).zip(request.messages) {
            let checked = refuse_own(message.context.as_ref(), "context")
                .and_then(|()| self.send_item(call, message));
            match checked {
                Ok(item) => items.push(SubmitItem {
                    correlation,
                    ..item
                }),
                Err(refusal) => drop(refused.insert(correlation, refusal.into())),
            }
        }
        let mut placed = if items.is_empty() {
            HashMap::new()
        } else {
            self.orchestrators.submit(items).await?
        };
        let outcomes = (0..count as u64).map(|correlation| {
            let result = match (placed.remove(&correlation), refused.remove(&correlation)) {
                (Some(Ok(placed)), _) => send_outcome::Result::Placed(placed),
                (Some(Err(error)), _) | (None, Some(error)) => send_outcome::Result::Error(error),
                (None, None) => send_outcome::Result::Error(no_receipt().into()),
            };
            SendOutcome {
                result: Some(result),
            }
        });
        Ok(SendMessagesResponse {
            outcomes: outcomes.collect(),
            trace_id: call.ids.trace_id.to_string(),
        })
    }

    /// Takes a message back.
    pub(crate) async fn recall_message(
        &self,
        call: &Call,
        request: RecallMessageRequest,
    ) -> Result<SendMessageResponse, Refusal> {
        ids::check_conversation_id(&request.conversation_id)
            .map_err(|error| Refusal::invalid("conversation_id", error.to_string()))?;
        ids::check_client_id(&request.client_id)
            .map_err(|error| Refusal::invalid("client_id", error.to_string()))?;
        if !(1..SEQ_LIMIT).contains(&request.seq) {
            return Err(Refusal::invalid(
                "seq",
                format!("{} is no seq: they begin at 1", request.seq),
            ));
        }
        let item = SubmitItem {
            conversation_id: request.conversation_id,
            client_id: request.client_id,
            command: Some(Command::Recall(RecallCommand { seq: request.seq })),
            ..from_caller(call, call.actor())
        };
        let placed = self.submit_one(item).await?;
        Ok(SendMessageResponse {
            placed: Some(placed),
            trace_id: call.ids.trace_id.to_string(),
        })
    }

    /// Checks a message by the rules that hold for clients' frames, with their codes and fields.
    fn send_item(&self, call: &Call, request: SendMessageRequest) -> Result<SubmitItem, Refusal> {
        let actor = call.caller.sending_as(&request.sender_id)?;
        let frame = Frame::Send(Send {
            id: 1,
            conversation_id: request.conversation_id,
            user_id: request.user_id,
            client_id: request.client_id,
            content: request.content,
            ..Send::default()
        });
        check::client_frame(&frame, &self.limits)
            .map_err(|refusal| Refusal::from(refusal.to_error()))?;
        let Frame::Send(send) = frame else {
            return Err(Refusal::internal("a send became another frame"));
        };
        Ok(SubmitItem {
            conversation_id: send.conversation_id,
            peer_user_id: send.user_id,
            client_id: send.client_id,
            command: Some(Command::Send(send.content)),
            ..from_caller(call, wire_actor(&actor))
        })
    }

    async fn submit_one(&self, item: SubmitItem) -> Result<Placed, Refusal> {
        let correlation = item.correlation;
        match self
            .orchestrators
            .submit(vec![item])
            .await?
            .remove(&correlation)
        {
            Some(Ok(placed)) => Ok(placed),
            Some(Err(error)) => Err(error.into()),
            None => Err(no_receipt()),
        }
    }
}

/// What every item of a call has. No lane: each item stands for itself.
fn from_caller(call: &Call, actor: common::Actor) -> SubmitItem {
    SubmitItem {
        tenant_id: call.caller.tenant.clone(),
        actor: Some(actor),
        trace_id: call.ids.trace_id.as_bytes().to_vec().into(),
        ..SubmitItem::default()
    }
}

fn no_receipt() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the outcome is unknown: send it again with the same client id",
    )
}
