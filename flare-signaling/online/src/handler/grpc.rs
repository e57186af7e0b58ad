//! `flare.signaling.v1.SignalingService`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use flare_proto::{
    common::{ActorKind, ErrorCode, RequestContext},
    ids::{IdError, check_device_id, check_user_id},
    signaling::{
        self, GetPresenceRequest, GetPresenceResponse, KickRequest, KickResponse,
        ListDevicesRequest, ListDevicesResponse, LookupRequest, LookupResponse,
        RegisterBatchRequest, RegisterBatchResponse, RegisterOutcome, RenewLeaseRequest,
        RenewLeaseResponse, RevocationsRequest, RevocationsResponse, RevokeRequest, RevokeResponse,
        SignOutRequest, SignOutResponse, UnregisterBatchRequest, UnregisterBatchResponse,
        signaling_service_server::SignalingService,
    },
};
use flare_server_core::error::Refusal;
use tonic::{Request, Response, Status};

use crate::{
    application::{
        ports::PortError,
        queries::Queries,
        registration::{Outcome, Registration},
        sign_out::SignOut,
        tokens::Tokens,
    },
    domain::{
        presence::{Connection, Gateway, Located},
        revocation::DeviceKey,
    },
};

/// Users a presence query may name.
const MAX_USERS: usize = 200;
/// When a refusal for want of a store may be tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The service's gRPC side.
pub struct Grpc {
    /// Gateways' commands.
    pub registration: Arc<Registration>,
    /// Ends of connections and tokens.
    pub sign_out: SignOut,
    /// Reads.
    pub queries: Queries,
    /// Tokens as others see them used.
    pub tokens: Tokens,
}

type Answer<T> = Result<Response<T>, Status>;

fn unavailable(error: PortError) -> Status {
    Refusal::unavailable(error.to_string(), RETRY_AFTER).into()
}

fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Status> {
    value.ok_or_else(|| Refusal::invalid(field, format!("{field} is missing")).into())
}

fn well_formed(field: &'static str, id: Result<(), IdError>) -> Result<(), Status> {
    id.map_err(|error| Refusal::invalid(field, error.to_string()).into())
}

/// Tenant and, where a user acts, his id.
struct Caller {
    tenant: String,
    user: Option<String>,
}

fn caller(context: Option<RequestContext>) -> Result<Caller, Status> {
    let context = required(context, "context")?;
    let tenant = required(context.tenant, "context.tenant")?.tenant_id;
    let actor = required(context.actor, "context.actor")?;
    let user = match actor.kind() {
        ActorKind::User | ActorKind::Api => {
            well_formed("context.actor.user_id", check_user_id(&actor.user_id))?;
            Some(actor.user_id)
        }
        ActorKind::System | ActorKind::Service => None,
        ActorKind::Unspecified => {
            return Err(Refusal::invalid("context.actor.kind", "nobody acts").into());
        }
    };
    Ok(Caller { tenant, user })
}

impl Caller {
    /// The user whose devices are meant: a user's own, or whomever the system names.
    fn subject(&self, named: String) -> Result<String, Status> {
        if !named.is_empty() {
            well_formed("user_id", check_user_id(&named))?;
        }
        match &self.user {
            None if named.is_empty() => {
                Err(Refusal::invalid("user_id", "user_id is missing").into())
            }
            None => Ok(named),
            Some(own) if named.is_empty() || named == *own => Ok(own.clone()),
            Some(_) => Err(Refusal::new(
                ErrorCode::PermissionDenied,
                format!("devices of {named:?} are not yours"),
            )
            .with_field("user_id")
            .into()),
        }
    }

    /// The subject's device, or with an empty device id all of his.
    fn devices(self, user: String, device: String) -> Result<DeviceKey, Status> {
        let user = self.subject(user)?;
        if !device.is_empty() {
            well_formed("device_id", check_device_id(&device))?;
        }
        Ok(DeviceKey {
            tenant: self.tenant,
            user,
            device,
        })
    }
}

fn device(key: signaling::DeviceKey) -> DeviceKey {
    DeviceKey {
        tenant: key.tenant_id,
        user: key.user_id,
        device: key.device_id,
    }
}

fn gateway(gateway: Option<signaling::Gateway>) -> Result<Gateway, Status> {
    let gateway = required(gateway, "gateway")?;
    Ok(Gateway {
        incarnation: gateway.incarnation,
        endpoint: gateway.endpoint,
    })
}

fn key_of(connection: &signaling::Connection) -> DeviceKey {
    DeviceKey {
        tenant: connection.tenant_id.clone(),
        user: connection.user_id.clone(),
        device: connection.device_id.clone(),
    }
}

fn outcome(outcome: Outcome) -> RegisterOutcome {
    let refusal = match outcome {
        Outcome::Stands => return RegisterOutcome { error: None },
        Outcome::Revoked => Refusal::new(
            ErrorCode::TokenRevoked,
            "the token was revoked: sign in again",
        )
        .with_field("token"),
        Outcome::TooManyDevices { limit } => Refusal::new(
            ErrorCode::LimitExceeded,
            format!("{limit} other devices of the user are connected, the most that may be"),
        )
        .with_field("device_id"),
        Outcome::Outdated => Refusal::new(
            ErrorCode::FailedPrecondition,
            "a later connection of the device stands",
        ),
        Outcome::Yields => Refusal::unavailable(
            "the device has a connection elsewhere, which may be dead: connect again",
            RETRY_AFTER,
        ),
    };
    RegisterOutcome {
        error: Some(refusal.into()),
    }
}

/// Names each gateway once, and connections by its index.
fn located(users: Vec<Vec<Located>>, others: Vec<Gateway>) -> LookupResponse {
    let mut gateways: Vec<signaling::Gateway> = Vec::new();
    let mut indexes: HashMap<String, u32> = HashMap::new();
    let mut index = |it: Gateway| {
        let Gateway {
            incarnation,
            endpoint,
        } = it;
        *indexes
            .entry(incarnation)
            .or_insert_with_key(|incarnation| {
                gateways.push(signaling::Gateway {
                    incarnation: incarnation.clone(),
                    endpoint,
                });
                u32::try_from(gateways.len() - 1).unwrap_or(u32::MAX)
            })
    };
    let users = users
        .into_iter()
        .map(|connections| signaling::UserConnections {
            connections: connections
                .into_iter()
                .map(|it| signaling::Located {
                    gateway_index: index(it.gateway),
                    connection_id: it.connection_id,
                    device_id: it.device,
                })
                .collect(),
        })
        .collect();
    others.into_iter().for_each(|it| {
        index(it);
    });
    LookupResponse { users, gateways }
}

#[tonic::async_trait]
impl SignalingService for Grpc {
    async fn renew_lease(&self, request: Request<RenewLeaseRequest>) -> Answer<RenewLeaseResponse> {
        let request = request.into_inner();
        let gateway = gateway(request.gateway)?;
        let lease_id = self
            .registration
            .renew(&gateway)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(RenewLeaseResponse {
            known: lease_id == request.lease_id,
            lease_ms: self.registration.lease_ms,
            lease_id,
        }))
    }

    async fn register_batch(
        &self,
        request: Request<RegisterBatchRequest>,
    ) -> Answer<RegisterBatchResponse> {
        let request = request.into_inner();
        let gateway = gateway(request.gateway)?;
        let connections = request
            .connections
            .into_iter()
            .map(|it| {
                let device = key_of(&it);
                let connection = Connection {
                    device,
                    platform: it.platform,
                    connection_id: it.connection_id,
                    connected_ms: it.connected_ms,
                    again: it.again,
                };
                (connection, it.token_issued_s)
            })
            .collect();
        let outcomes = self
            .registration
            .register(&gateway, connections)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(RegisterBatchResponse {
            outcomes: outcomes.into_iter().map(outcome).collect(),
        }))
    }

    async fn unregister_batch(
        &self,
        request: Request<UnregisterBatchRequest>,
    ) -> Answer<UnregisterBatchResponse> {
        let request = request.into_inner();
        let gateway = gateway(request.gateway)?;
        let connections: Vec<_> = request
            .connections
            .iter()
            .map(|it| (key_of(it), it.connection_id))
            .collect();
        self.registration
            .unregister(&gateway.incarnation, &connections)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(UnregisterBatchResponse {}))
    }

    async fn lookup(&self, request: Request<LookupRequest>) -> Answer<LookupResponse> {
        let request = request.into_inner();
        let users: Vec<_> = request
            .users
            .into_iter()
            .map(|it| (it.tenant_id, it.user_id))
            .collect();
        let found = self.queries.lookup(&users).await.map_err(unavailable)?;
        let others = match request.all_gateways {
            true => self.queries.gateways().await.map_err(unavailable)?,
            false => Vec::new(),
        };
        Ok(Response::new(located(found, others)))
    }

    async fn revocations(
        &self,
        request: Request<RevocationsRequest>,
    ) -> Answer<RevocationsResponse> {
        let request = request.into_inner();
        let devices: Vec<_> = request.devices.into_iter().map(device).collect();
        let issued: Vec<_> = devices.iter().cloned().zip(request.issued_s).collect();
        self.tokens
            .note_issued(&issued)
            .await
            .map_err(unavailable)?;
        let not_before_s = self
            .tokens
            .not_before(&devices)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(RevocationsResponse { not_before_s }))
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Answer<RevokeResponse> {
        let request = request.into_inner();
        let caller = caller(request.context)?;
        let named = required(request.device, "device")?;
        let key = caller.devices(named.user_id, named.device_id)?;
        let revoked = self.sign_out.revoke(&key).await.map_err(unavailable)?;
        tracing::info!(tenant = %key.tenant, user = %key.user, device = %key.device, "tokens revoked");
        Ok(Response::new(RevokeResponse {
            not_before_s: revoked.not_before_s,
            closed_connections: revoked.closed,
        }))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Answer<KickResponse> {
        let request = request.into_inner();
        let caller = caller(request.context)?;
        let named = required(request.device, "device")?;
        let key = caller.devices(named.user_id, named.device_id)?;
        let message = if request.reason.is_empty() {
            "kicked"
        } else {
            &request.reason
        };
        let closed_connections = self
            .sign_out
            .kick(&key, message)
            .await
            .map_err(unavailable)?;
        Ok(Response::new(KickResponse { closed_connections }))
    }

    async fn get_presence(
        &self,
        request: Request<GetPresenceRequest>,
    ) -> Answer<GetPresenceResponse> {
        let request = request.into_inner();
        let caller = caller(request.context)?;
        if request.user_ids.is_empty() || request.user_ids.len() > MAX_USERS {
            let given = request.user_ids.len();
            return Err(Refusal::invalid(
                "user_ids",
                format!("{given} users: 1 to {MAX_USERS} may be asked for"),
            )
            .into());
        }
        for user in &request.user_ids {
            well_formed("user_ids", check_user_id(user))?;
        }
        let presences = self
            .queries
            .presence(&caller.tenant, request.user_ids)
            .await
            .map_err(unavailable)?;
        let presences = presences
            .into_iter()
            .map(|it| signaling::Presence {
                user_id: it.user,
                online: !it.connections.is_empty(),
                last_seen_ms: it.last_seen_ms,
                platforms: it.connections.into_iter().map(|it| it.platform).collect(),
            })
            .collect();
        Ok(Response::new(GetPresenceResponse { presences }))
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Answer<ListDevicesResponse> {
        let request = request.into_inner();
        let caller = caller(request.context)?;
        let user = caller.subject(request.user_id)?;
        let found = self
            .queries
            .lookup(&[(caller.tenant, user)])
            .await
            .map_err(unavailable)?;
        let devices = found
            .into_iter()
            .flatten()
            .map(|it| signaling::Device {
                device_id: it.device,
                platform: it.platform,
                connected_ms: it.connected_ms,
            })
            .collect();
        Ok(Response::new(ListDevicesResponse { devices }))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Answer<SignOutResponse> {
        let request = request.into_inner();
        let caller = caller(request.context)?;
        let key = caller.devices(String::new(), request.device_id)?;
        let revoked = self.sign_out.revoke(&key).await.map_err(unavailable)?;
        Ok(Response::new(SignOutResponse {
            closed_connections: revoked.closed,
        }))
    }
}
