//! Revocations, as flare-signaling-online has them.

use std::time::Duration;

use async_trait::async_trait;
use flare_proto::{
    common::{Actor, ActorKind, RequestContext, TenantContext},
    signaling::{DeviceKey, RevocationsRequest, signaling_service_client::SignalingServiceClient},
};
use flare_server_core::{channels::ServiceChannel, error::Refusal};

use crate::application::ports::Revocations;

/// A caller waits no longer to be told who he is.
const DEADLINE: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Asks each time: nothing is cached, so a token is dead from the moment of its revocation.
#[derive(Clone)]
pub struct GrpcRevocations {
    client: SignalingServiceClient<ServiceChannel>,
}

impl GrpcRevocations {
    /// Over a channel to flare-signaling-online.
    pub fn new(channel: ServiceChannel) -> Self {
        Self {
            client: SignalingServiceClient::new(channel),
        }
    }
}

#[async_trait]
impl Revocations for GrpcRevocations {
    async fn not_before_s(
        &self,
        tenant: &str,
        user: &str,
        device: &str,
        issued_s: i64,
    ) -> Result<i64, Refusal> {
        let context = RequestContext {
            actor: Some(Actor {
                kind: ActorKind::Service.into(),
                ..Actor::default()
            }),
            tenant: Some(TenantContext {
                tenant_id: tenant.to_owned(),
            }),
            ..RequestContext::default()
        };
        let device = DeviceKey {
            tenant_id: tenant.to_owned(),
            user_id: user.to_owned(),
            device_id: device.to_owned(),
        };
        let request = RevocationsRequest {
            context: Some(context),
            devices: vec![device],
            issued_s: vec![issued_s],
        };
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(DEADLINE, client.revocations(request)).await;
        let why = match answer {
            Ok(Ok(response)) => match response.into_inner().not_before_s.first() {
                Some(not_before_s) => return Ok(*not_before_s),
                None => "it gave no answer".to_owned(),
            },
            Ok(Err(status)) => status.to_string(),
            Err(_) => format!("no answer in {DEADLINE:?}"),
        };
        tracing::warn!(%why, "revocations cannot be read");
        Err(Refusal::unavailable(
            "whether the token is good cannot be told just now",
            RETRY_AFTER,
        ))
    }
}
