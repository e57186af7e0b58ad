//! Gateways by gRPC.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::{
    access::{CloseConnectionsRequest, access_gateway_service_client::AccessGatewayServiceClient},
    client,
};
use flare_server_core::channels::Channels;

use crate::{
    application::ports::{CloseReason, Gateways, PortError},
    domain::presence::Gateway,
};

/// A gateway that does not answer is given up after this.
const DEADLINE: Duration = Duration::from_secs(3);

/// Calls each gateway at the endpoint under which it registered.
pub struct GrpcGateways {
    channels: Channels,
}

impl GrpcGateways {
    /// Calls over these channels.
    pub fn new(channels: Channels) -> Self {
        Self { channels }
    }
}

#[async_trait]
impl Gateways for GrpcGateways {
    async fn close(
        &self,
        gateway: &Gateway,
        connection_ids: Vec<u64>,
        reason: CloseReason,
        message: &str,
    ) -> Result<u32, PortError> {
        let reason = match reason {
            CloseReason::Replaced => client::CloseReason::Replaced,
            CloseReason::Kicked => client::CloseReason::Kicked,
            CloseReason::Revoked => client::CloseReason::Unauthenticated,
            CloseReason::ConnectAgain => client::CloseReason::GoingAway,
        };
        let request = CloseConnectionsRequest {
            context: None,
            incarnation: gateway.incarnation.clone(),
            connection_ids,
            reason: reason.into(),
            message: message.to_owned(),
        };
        let mut gateways =
            AccessGatewayServiceClient::new(self.channels.endpoint(&gateway.endpoint));
        let call = tokio::time::timeout(DEADLINE, gateways.close_connections(request));
        let unavailable = |why: String| PortError {
            what: "access gateway",
            why,
        };
        match call.await {
            Ok(Ok(answer)) => Ok(answer.into_inner().closed),
            Ok(Err(status)) => Err(unavailable(status.message().to_owned())),
            Err(_) => Err(unavailable(format!("no answer within {DEADLINE:?}"))),
        }
    }
}
