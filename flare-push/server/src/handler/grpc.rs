//! `flare.push.v1.PushSchedulerService`.

use std::sync::Arc;

use bytes::Bytes;
use flare_proto::push::{
    SignalItem, SignalRequest, SignalResponse, push_scheduler_service_server::PushSchedulerService,
    signal_item,
};
use prost::Message;
use tokio::sync::mpsc::{self, error::TrySendError};
use tonic::{Request, Response, Status};

use crate::{
    application::{
        missed::Missed,
        signal::{Audience, Signal},
    },
    domain::event::Conversation,
};

/// Queues signals; when the queue is full they are dropped.
pub struct Grpc {
    /// To the task that passes them on.
    pub queue: mpsc::Sender<Signal>,
    /// Who is left behind by those that are dropped.
    pub missed: Arc<Missed>,
}

fn parse(item: SignalItem) -> Option<Signal> {
    let signal = item.signal?;
    let audience = match item.audience? {
        signal_item::Audience::Participants(_) => Audience::Participants,
        signal_item::Audience::OwnDevices(own) => Audience::OwnDevices {
            except_device: own.except_device_id,
        },
    };
    Some(Signal {
        conversation: Conversation {
            tenant: item.tenant_id,
            id: signal.conversation_id.clone(),
        },
        user: signal.user_id.clone(),
        audience,
        bytes: Bytes::from(signal.encode_to_vec()),
    })
}

#[tonic::async_trait]
impl PushSchedulerService for Grpc {
    async fn signal(
        &self,
        request: Request<SignalRequest>,
    ) -> Result<Response<SignalResponse>, Status> {
        for signal in request.into_inner().items.into_iter().filter_map(parse) {
            if let Err(TrySendError::Full(signal) | TrySendError::Closed(signal)) =
                self.queue.try_send(signal)
            {
                self.missed.dropped(&signal);
            }
        }
        Ok(Response::new(SignalResponse {}))
    }
}
