//! push-server's signals over gRPC.

use async_trait::async_trait;
use flare_proto::{
    client::{self, ReadMark, SettingsChanged},
    common::{Actor, ActorKind, RequestContext},
    push::{
        OwnDevices, Participants, SignalItem, SignalRequest,
        push_scheduler_service_client::PushSchedulerServiceClient, signal_item,
    },
};
use flare_server_core::{channels::ServiceChannel, error::Refusal};

use super::within_deadline;
use crate::application::ports::{Audience, Signal, SignalKind, SignalSink};

/// Hands signals to push-server.
pub struct GrpcSignalSink {
    client: PushSchedulerServiceClient<ServiceChannel>,
}

impl GrpcSignalSink {
    /// Over the channel.
    pub fn new(channel: ServiceChannel) -> Self {
        Self {
            client: PushSchedulerServiceClient::new(channel),
        }
    }
}

#[async_trait]
impl SignalSink for GrpcSignalSink {
    async fn send(&self, signals: &[Signal]) -> Result<(), Refusal> {
        let request = SignalRequest {
            context: Some(RequestContext {
                actor: Some(Actor {
                    kind: ActorKind::Service.into(),
                    ..Actor::default()
                }),
                ..RequestContext::default()
            }),
            items: signals.iter().map(item).collect(),
        };
        let mut client = self.client.clone();
        within_deadline("push-server", client.signal(request)).await?;
        Ok(())
    }
}

fn item(signal: &Signal) -> SignalItem {
    SignalItem {
        tenant_id: signal.key.tenant.to_string(),
        signal: Some(client::Signal {
            conversation_id: signal.key.conversation.to_string(),
            user_id: signal.user.to_string(),
            signal: Some(match signal.kind {
                SignalKind::Read(seq) => client::signal::Signal::Read(ReadMark { seq }),
                SignalKind::Settings => client::signal::Signal::Settings(SettingsChanged {}),
            }),
        }),
        audience: Some(match &signal.audience {
            Audience::Participants => signal_item::Audience::Participants(Participants {}),
            Audience::OwnDevices { except } => signal_item::Audience::OwnDevices(OwnDevices {
                except_device_id: except.to_string(),
            }),
        }),
    }
}
