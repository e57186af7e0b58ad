//! The message orchestrator over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::{Actor, ActorKind, ErrorCode},
    message::{
        ConversationChange, ConversationClass, SubmitBatch, SubmitItem,
        message_orchestrator_service_client::MessageOrchestratorServiceClient, receipt,
        submit_item,
    },
};
use flare_server_core::{
    channels::Channels,
    error::{Refusal, is_retryable},
    owners::{Owner, Owners},
};
use flare_storage_model::partition_of;

use super::change_codec::{class_out, encode_body, kind};
use crate::{
    application::ports::{MessageOrchestrator, OutboxLine, Placed, SubmitError},
    domain::{change::Change, ids::SERVICE_PREFIX},
};

/// Submits lines one by one, each to the owner of its conversation's partition: changes of conversations are rare.
pub struct GrpcOrchestrator {
    channels: Channels,
    owners: Owners,
    timeout: Duration,
}

impl GrpcOrchestrator {
    /// Over these channels; after `timeout` an outcome counts as unknown.
    pub fn new(channels: &Channels, owners: Owners, timeout: Duration) -> Self {
        Self {
            channels: channels.clone(),
            owners,
            timeout,
        }
    }

    /// Asks whoever owns the partition, and the next owner where one refuses because it is none any more: it has decided nothing then.
    async fn submit_to_owner(&self, line: &OutboxLine) -> Result<Placed, SubmitError> {
        let partition = partition_of(&line.key, self.owners.partitions().await);
        let mut refused: Option<Owner> = None;
        loop {
            let owner = self.owners.find(partition, refused.as_ref()).await;
            match self.submit_to(&owner.endpoint, line).await {
                Err(SubmitError::Unknown(refusal)) if refusal.code == ErrorCode::NotOwner => {
                    refused = Some(owner);
                }
                outcome => return outcome,
            }
        }
    }

    async fn submit_to(&self, endpoint: &str, line: &OutboxLine) -> Result<Placed, SubmitError> {
        let batch = SubmitBatch {
            items: vec![item(line)],
        };
        let mut client = MessageOrchestratorServiceClient::new(self.channels.endpoint(endpoint));
        let answer = client.submit_once(batch).await;
        // Whatever was said of the call says nothing of the line.
        let answer = answer.map_err(|status| SubmitError::Unknown(status.into()))?;
        let receipts = answer.into_inner().receipts;
        match receipts.into_iter().next().and_then(|it| it.result) {
            Some(receipt::Result::Placed(it)) => Ok(Placed {
                seq: it.seq,
                ordinal: it.ordinal,
                time_ms: it.time_ms,
            }),
            Some(receipt::Result::Error(error)) => Err(judge(error.into())),
            None => Err(SubmitError::Unknown(Refusal::internal(format!(
                "the orchestrator answered line {} without a receipt",
                line.line
            )))),
        }
    }
}

#[async_trait]
impl MessageOrchestrator for GrpcOrchestrator {
    async fn submit(&self, line: &OutboxLine) -> Result<Placed, SubmitError> {
        tokio::time::timeout(self.timeout, self.submit_to_owner(line))
            .await
            .unwrap_or_else(|_| {
                let message = format!("no receipt within {} ms", self.timeout.as_millis());
                Err(SubmitError::Unknown(Refusal::unavailable(
                    message,
                    self.timeout,
                )))
            })
    }
}

/// A receipt that says no for good means that the line is not in the log: one that was there before is found by its id first. What may be
/// said differently later, or says that something broke, leaves it open.
fn judge(refusal: Refusal) -> SubmitError {
    let open = is_retryable(refusal.code)
        || matches!(
            refusal.code,
            ErrorCode::Unspecified | ErrorCode::Internal | ErrorCode::ClientIdInFuture
        );
    if open {
        SubmitError::Unknown(refusal)
    } else {
        SubmitError::Refused(refusal)
    }
}

/// The class from this event on; unspecified: the one that it has.
const fn class(change: &Change) -> ConversationClass {
    match change {
        Change::Created { class, .. } => class_out(*class),
        Change::MembersAdded {
            becomes_large: true,
            ..
        } => ConversationClass::Large,
        _ => ConversationClass::Unspecified,
    }
}

fn item(line: &OutboxLine) -> SubmitItem {
    SubmitItem {
        correlation: 1,
        tenant_id: line.key.tenant.to_string(),
        actor: Some(Actor {
            kind: ActorKind::Service.into(),
            user_id: line.sender.to_string(),
            device_id: String::new(),
        }),
        conversation_id: line.key.conversation.to_string(),
        client_id: format!("{SERVICE_PREFIX}{}", line.line),
        trace_id: line
            .trace_id
            .map(|it| Bytes::copy_from_slice(it.as_bytes()))
            .unwrap_or_default(),
        command: Some(submit_item::Command::Change(ConversationChange {
            kind: kind(&line.change).into(),
            class: class(&line.change).into(),
            body: encode_body(&line.change).into(),
        })),
        ..SubmitItem::default()
    }
}

#[cfg(test)]
mod tests {
    use flare_proto::message::EventKind;
    use flare_server_core::telemetry::TraceId;
    use flare_storage_model::ConversationKey;

    use super::*;

    #[test]
    fn a_line_is_submitted_in_the_name_of_its_sender_and_under_its_own_id() {
        let line = OutboxLine {
            line: "01J".into(),
            key: ConversationKey::new("t", "g"),
            sender: "alice".into(),
            change: Change::Renamed {
                title: "new".into(),
            },
            trace_id: TraceId::from_bytes([7; 16]),
        };
        let item = item(&line);
        assert_eq!(item.client_id, "flare:01J");
        assert_eq!(item.trace_id[..], [7; 16]);
        let actor = item.actor.expect("has one");
        assert_eq!(
            (actor.kind(), actor.user_id.as_str()),
            (ActorKind::Service, "alice")
        );
        let Some(submit_item::Command::Change(change)) = item.command else {
            panic!("a line is a change");
        };
        assert_eq!(change.kind(), EventKind::ConversationRenamed);
    }

    #[test]
    fn only_a_final_no_takes_a_line_back() {
        let judged = |code| matches!(judge(Refusal::new(code, "no")), SubmitError::Refused(_));
        for code in [
            ErrorCode::InvalidArgument,
            ErrorCode::AlreadyExists,
            ErrorCode::StoppedByHook,
        ] {
            assert!(judged(code), "{code:?}");
        }
        for code in [
            ErrorCode::Unavailable,
            ErrorCode::NotOwner,
            ErrorCode::RetryInOrder,
            ErrorCode::RateLimited,
            ErrorCode::DeadlineExceeded,
            ErrorCode::Internal,
            ErrorCode::ClientIdInFuture,
        ] {
            assert!(!judged(code), "{code:?}");
        }
    }
}
