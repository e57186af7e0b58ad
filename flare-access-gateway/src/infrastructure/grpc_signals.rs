//! Signals, passed on by flare-push-server.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::{
    client,
    push::{
        Participants, SignalItem, SignalRequest,
        push_scheduler_service_client::PushSchedulerServiceClient, signal_item,
    },
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};

use super::{own_context, within};
use crate::application::ports::{Signals, Typing};

/// A signal is worth nothing later.
const DEADLINE: Duration = Duration::from_secs(2);

/// Calls `Signal`.
pub struct GrpcSignals {
    client: PushSchedulerServiceClient<ServiceChannel>,
}

impl GrpcSignals {
    /// Calls over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self {
            client: PushSchedulerServiceClient::new(channels.get(service::PUSH_SERVER)),
        }
    }
}

#[async_trait]
impl Signals for GrpcSignals {
    async fn pass_on(&self, signals: Vec<Typing>) -> Result<(), Refusal> {
        let items = signals.into_iter().map(item).collect();
        let request = SignalRequest {
            context: Some(own_context()),
            items,
        };
        within(DEADLINE, self.client.clone().signal(request))
            .await
            .map(drop)
    }
}

fn item(typing: Typing) -> SignalItem {
    SignalItem {
        tenant_id: typing.identity.tenant.to_string(),
        signal: Some(client::Signal {
            conversation_id: typing.conversation.into(),
            user_id: typing.identity.user.to_string(),
            signal: Some(client::signal::Signal::Typing(client::Typing {
                active: typing.active,
            })),
        }),
        audience: Some(signal_item::Audience::Participants(Participants {})),
    }
}
