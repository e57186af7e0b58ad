//! Presence from flare-signaling-online.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::signaling::{
    LookupRequest, UserKey, signaling_service_client::SignalingServiceClient,
};
use flare_server_core::{
    channels::{Channels, ServiceChannel},
    registry::service,
};

use crate::application::ports::{Connection, Gateway, Located, PortError, Presence};

const DEADLINE: Duration = Duration::from_secs(3);

/// Asks `SignalingService.Lookup`.
pub struct GrpcPresence(SignalingServiceClient<ServiceChannel>);

impl GrpcPresence {
    /// Asks over these channels.
    pub fn new(channels: &Channels) -> Self {
        let client = SignalingServiceClient::new(channels.get(service::ONLINE));
        Self(client.max_decoding_message_size(usize::MAX))
    }
}

#[async_trait]
impl Presence for GrpcPresence {
    async fn lookup(
        &self,
        users: &[(String, String)],
        all_gateways: bool,
    ) -> Result<Located, PortError> {
        let users = users
            .iter()
            .map(|(tenant, user)| UserKey {
                tenant_id: tenant.clone(),
                user_id: user.clone(),
            })
            .collect();
        let unavailable = |why: String| PortError {
            what: "presence",
            why,
        };
        let mut client = self.0.clone();
        let answer = tokio::time::timeout(
            DEADLINE,
            client.lookup(LookupRequest {
                context: None,
                users,
                all_gateways,
            }),
        )
        .await
        .map_err(|_| unavailable(format!("no answer within {DEADLINE:?}")))?
        .map_err(|status| unavailable(status.message().to_owned()))?
        .into_inner();
        Ok(Located {
            users: answer
                .users
                .into_iter()
                .map(|user| {
                    let connections = user.connections.into_iter();
                    connections
                        .map(|it| Connection {
                            gateway: usize::try_from(it.gateway_index).unwrap_or(usize::MAX),
                            id: it.connection_id,
                            device: it.device_id,
                        })
                        .collect()
                })
                .collect(),
            gateways: answer
                .gateways
                .into_iter()
                .map(|it| Gateway {
                    incarnation: it.incarnation,
                    endpoint: it.endpoint,
                })
                .collect(),
        })
    }
}
