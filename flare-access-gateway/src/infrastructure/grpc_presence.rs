//! Presence, kept by flare-signaling-online.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::signaling::{
    Connection, Gateway, RegisterBatchRequest, RenewLeaseRequest, UnregisterBatchRequest,
    signaling_service_client::SignalingServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    error::Refusal,
    registry::service,
};

use super::{own_context, within};
use crate::application::ports::{Lease, Presence, Registration};

/// A call that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(3);

/// Calls for one incarnation of this gateway.
pub struct GrpcPresence {
    client: SignalingServiceClient<ServiceChannel>,
    gateway: Gateway,
}

impl GrpcPresence {
    /// Calls over these channels. Others reach this gateway's inner side at `endpoint`.
    pub fn new(channels: &Channels, incarnation: &str, endpoint: &str) -> Self {
        Self {
            client: SignalingServiceClient::new(channels.get(service::ONLINE)),
            gateway: Gateway {
                incarnation: incarnation.to_owned(),
                endpoint: endpoint.to_owned(),
            },
        }
    }
}

#[async_trait]
impl Presence for GrpcPresence {
    async fn renew(&self, lease_id: u64) -> Result<Lease, Refusal> {
        let request = RenewLeaseRequest {
            context: Some(own_context()),
            gateway: Some(self.gateway.clone()),
            lease_id,
        };
        let lease = within(DEADLINE, self.client.clone().renew_lease(request)).await?;
        Ok(Lease {
            id: lease.lease_id,
            known: lease.known,
            lasts: Duration::from_millis(lease.lease_ms.into()),
        })
    }

    async fn register(
        &self,
        connections: &[Registration],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let request = RegisterBatchRequest {
            context: Some(own_context()),
            gateway: Some(self.gateway.clone()),
            connections: connections.iter().map(connection).collect(),
        };
        let answer = within(DEADLINE, self.client.clone().register_batch(request)).await?;
        if answer.outcomes.len() != connections.len() {
            let (given, wanted) = (answer.outcomes.len(), connections.len());
            return Err(Refusal::internal(format!(
                "{given} outcomes of {wanted} registrations"
            )));
        }
        Ok(answer
            .outcomes
            .into_iter()
            .map(|it| it.error.map_or(Ok(()), |error| Err(error.into())))
            .collect())
    }

    async fn unregister(&self, connections: &[Registration]) -> Result<(), Refusal> {
        let request = UnregisterBatchRequest {
            context: Some(own_context()),
            gateway: Some(self.gateway.clone()),
            connections: connections.iter().map(connection).collect(),
        };
        within(DEADLINE, self.client.clone().unregister_batch(request))
            .await
            .map(drop)
    }
}

fn connection(registration: &Registration) -> Connection {
    Connection {
        tenant_id: registration.identity.tenant.to_string(),
        user_id: registration.identity.user.to_string(),
        device_id: registration.identity.device.to_string(),
        platform: registration.platform.to_string(),
        connection_id: registration.connection_id,
        connected_ms: registration.connected_ms,
        token_issued_s: registration.token_issued_s,
        again: registration.again,
    }
}
