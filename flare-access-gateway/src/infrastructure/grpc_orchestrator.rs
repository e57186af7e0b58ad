//! The orchestrator by gRPC.

use async_trait::async_trait;
use bytes::Bytes;
use flare_proto::{
    common::{self, ActorKind},
    message::{
        self, RecallCommand, SubmitBatch, SubmitItem,
        message_orchestrator_service_client::MessageOrchestratorServiceClient, receipt,
        submit_item,
    },
};
use flare_server_core::{channels::Channels, error::Refusal};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::application::ports::{
    Action, Orchestrator, Placed, Receipt, Submission, SubmitStream, Target,
};

/// Batches that are handed over and not yet sent; the next waits and grows.
const BATCHES_AHEAD: usize = 2;

/// Opens `Submit` streams.
pub struct GrpcOrchestrator {
    channels: Channels,
}

impl GrpcOrchestrator {
    /// Calls over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self {
            channels: channels.clone(),
        }
    }
}

#[async_trait]
impl Orchestrator for GrpcOrchestrator {
    async fn open(&self, endpoint: &str) -> Result<SubmitStream, Refusal> {
        let (commands, batches) = mpsc::channel::<Vec<Submission>>(BATCHES_AHEAD);
        let batches = ReceiverStream::new(batches).map(|batch| SubmitBatch {
            items: batch.into_iter().map(item).collect(),
        });
        let client = MessageOrchestratorServiceClient::new(self.channels.endpoint(endpoint));
        let mut client = client.max_decoding_message_size(usize::MAX);
        let receipts = client.submit(batches).await?.into_inner();
        let receipts = receipts.map(|batch| Ok(batch?.receipts.into_iter().map(receipt).collect()));
        Ok(SubmitStream {
            commands,
            receipts: receipts.boxed(),
        })
    }
}

fn item(
    Submission {
        correlation,
        command,
    }: Submission,
) -> SubmitItem {
    let (conversation_id, peer_user_id) = match &command.target {
        Target::Conversation(id) => (id.to_string(), String::new()),
        Target::User(id) => (String::new(), id.to_string()),
    };
    SubmitItem {
        correlation,
        lane: command.lane,
        lane_generation: command.generation,
        tenant_id: command.identity.tenant.to_string(),
        actor: Some(common::Actor {
            kind: ActorKind::User.into(),
            user_id: command.identity.user.to_string(),
            device_id: command.identity.device.to_string(),
        }),
        conversation_id,
        peer_user_id,
        client_id: command.client_id.to_string(),
        trace_id: Bytes::copy_from_slice(&command.trace_id),
        command: Some(match &command.action {
            Action::Send(content) => submit_item::Command::Send(content.clone()),
            Action::Recall { seq } => submit_item::Command::Recall(RecallCommand { seq: *seq }),
        }),
    }
}

fn receipt(receipt: message::Receipt) -> Receipt {
    let result = match receipt.result {
        Some(receipt::Result::Placed(placed)) => Ok(Placed {
            conversation: placed.conversation_id,
            message_id: placed.message_id,
            seq: placed.seq,
            ordinal: placed.ordinal,
            time_ms: placed.time_ms,
            duplicate: placed.duplicate,
        }),
        Some(receipt::Result::Error(error)) => Err(error.into()),
        None => Err(Refusal::internal(format!(
            "receipt {} is empty",
            receipt.correlation
        ))),
    };
    Receipt {
        correlation: receipt.correlation,
        result,
        owner: (!receipt.owner_endpoint.is_empty()).then(|| receipt.owner_endpoint.into()),
    }
}
