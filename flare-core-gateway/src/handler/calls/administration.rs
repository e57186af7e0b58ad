//! Devices and API keys, for administrators.

use flare_proto::{
    gateway::{
        AdminDeviceRequest, ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest,
        ListApiKeysResponse, RevokeApiKeyRequest, RevokeApiKeyResponse,
    },
    ids,
    signaling::{
        DeviceKey, KickRequest, KickResponse, RevokeRequest, RevokeResponse, SignOutRequest,
        SignOutResponse,
    },
};
use flare_server_core::error::Refusal;

use super::{Call, Calls};
use crate::domain::api_key;

/// Longest reason of a kick, in characters.
pub(crate) const MAX_REASON_CHARS: usize = 200;

impl Calls {
    /// Closes a device's connections, or all of a user's.
    pub(crate) async fn kick(
        &self,
        call: &Call,
        request: AdminDeviceRequest,
    ) -> Result<KickResponse, Refusal> {
        let reason = request.reason.clone();
        let context = request.context.clone();
        let device = device(call, request)?;
        let audit = call.audit("kick", &subject(&device));
        let request = KickRequest {
            context,
            device: Some(device),
            reason,
        };
        let outcome = self.signaling.clone().kick(request).await;
        let outcome = outcome
            .map(tonic::Response::into_inner)
            .map_err(Refusal::from);
        audit.outcome(&outcome);
        outcome
    }

    /// Makes the tokens of a device, or all of a user's, worthless.
    pub(crate) async fn revoke(
        &self,
        call: &Call,
        request: AdminDeviceRequest,
    ) -> Result<RevokeResponse, Refusal> {
        let context = request.context.clone();
        let device = device(call, request)?;
        let audit = call.audit("revoke", &subject(&device));
        let request = RevokeRequest {
            context,
            device: Some(device),
        };
        let outcome = self.signaling.clone().revoke(request).await;
        let outcome = outcome
            .map(tonic::Response::into_inner)
            .map_err(Refusal::from);
        audit.outcome(&outcome);
        outcome
    }

    /// Makes the tokens of one of a user's devices, or of all, worthless: an administrative act where an API key does it for him.
    pub(crate) async fn sign_out(
        &self,
        call: &Call,
        request: SignOutRequest,
    ) -> Result<SignOutResponse, Refusal> {
        let user = call.caller.user().unwrap_or_default();
        let audit = call.audit("sign out", user);
        let outcome = self.signaling.clone().sign_out(request).await;
        let outcome = outcome
            .map(tonic::Response::into_inner)
            .map_err(Refusal::from);
        audit.outcome(&outcome);
        outcome
    }

    /// Makes an API key of the caller's tenant.
    pub(crate) async fn create_api_key(
        &self,
        call: &Call,
        request: CreateApiKeyRequest,
    ) -> Result<CreateApiKeyResponse, Refusal> {
        let scopes = request.scopes.iter().map(String::as_str);
        let mut audit = call.audit("create API key", &request.name);
        let outcome = self
            .keys
            .create(&call.caller.tenant, &request.name, scopes)
            .await;
        if let Ok((key, _)) = &outcome {
            audit.subject(format!("{} {:?} with {}", key.id, key.name, key.scopes));
        }
        audit.outcome(&outcome);
        let (key, secret) = outcome?;
        Ok(CreateApiKeyResponse {
            api_key: Some(shown(key)),
            secret: secret.expose().to_owned(),
        })
    }

    /// Lists the API keys of the caller's tenant.
    pub(crate) async fn list_api_keys(
        &self,
        call: &Call,
        request: ListApiKeysRequest,
    ) -> Result<ListApiKeysResponse, Refusal> {
        let page = self
            .keys
            .list(&call.caller.tenant, request.page_size, &request.page_token)
            .await?;
        Ok(ListApiKeysResponse {
            api_keys: page.keys.into_iter().map(shown).collect(),
            next_page_token: page.next_page_token,
        })
    }

    /// Makes an API key of the caller's tenant worthless.
    pub(crate) async fn revoke_api_key(
        &self,
        call: &Call,
        request: RevokeApiKeyRequest,
    ) -> Result<RevokeApiKeyResponse, Refusal> {
        let audit = call.audit("revoke API key", &request.key_id);
        let outcome = self.keys.revoke(&call.caller.tenant, &request.key_id).await;
        audit.outcome(&outcome);
        outcome.map(|()| RevokeApiKeyResponse {})
    }
}

fn shown(key: api_key::ApiKey) -> ApiKey {
    ApiKey {
        key_id: key.id.to_string(),
        name: key.name,
        scopes: key.scopes.iter().map(|it| it.name().to_owned()).collect(),
        tenant_id: key.tenant,
        created_ms: key.created_ms,
        revoked_ms: key.revoked_ms.unwrap_or_default(),
    }
}

fn device(call: &Call, request: AdminDeviceRequest) -> Result<DeviceKey, Refusal> {
    ids::check_user_id(&request.user_id)
        .map_err(|error| Refusal::invalid("user_id", error.to_string()))?;
    if !request.device_id.is_empty() {
        ids::check_device_id(&request.device_id)
            .map_err(|error| Refusal::invalid("device_id", error.to_string()))?;
    }
    if request.reason.chars().count() > MAX_REASON_CHARS
        || request.reason.chars().any(char::is_control)
    {
        let message = format!("at most {MAX_REASON_CHARS} characters, no control characters");
        return Err(Refusal::invalid("reason", message));
    }
    Ok(DeviceKey {
        tenant_id: call.caller.tenant.clone(),
        user_id: request.user_id,
        device_id: request.device_id,
    })
}

fn subject(device: &DeviceKey) -> String {
    match device.device_id.as_str() {
        "" => device.user_id.clone(),
        device_id => format!("{}/{device_id}", device.user_id),
    }
}
