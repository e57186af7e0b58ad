//! Delivered positions, kept by flare-session.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::session::{
    DeliveredPosition, PutPositionsRequest, session_service_client::SessionServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};

use super::own_context;
use crate::{application::ports::PositionStore, domain::positions::Acknowledged};

/// A call that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(5);

/// Calls `PutPositions`.
pub struct GrpcPositionStore {
    client: SessionServiceClient<ServiceChannel>,
}

impl GrpcPositionStore {
    /// Calls over these channels.
    pub fn new(channels: &Channels) -> Self {
        Self {
            client: SessionServiceClient::new(channels.get(service::SESSION)),
        }
    }
}

#[async_trait]
impl PositionStore for GrpcPositionStore {
    async fn put(&self, positions: &[Acknowledged]) -> Result<Vec<bool>, Refusal> {
        let mut taken = vec![true; positions.len()];
        let positions = positions.iter().map(|it| DeliveredPosition {
            tenant_id: it.identity.tenant.to_string(),
            user_id: it.identity.user.to_string(),
            device_id: it.identity.device.to_string(),
            conversation_id: it.conversation.to_string(),
            seq: it.seq,
        });
        let request = PutPositionsRequest {
            context: Some(own_context()),
            positions: positions.collect(),
        };
        let mut client = self.client.clone();
        let answer = super::within(DEADLINE, client.put_positions(request)).await?;
        for index in answer.refused {
            if let Some(taken) = taken.get_mut(index as usize) {
                *taken = false;
            }
        }
        Ok(taken)
    }
}
