//! The server that the table asks, and the credentials that its callers have.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context;
use flare_core_gateway::domain::{
    caller::{Access, Callers},
    scope::Scope,
};
use flare_proto::gateway::{AdminDeviceRequest, CreateApiKeyRequest};
use tempfile::TempDir;

use crate::{
    caller::Caller,
    stage::Stage,
    surfaces::{
        api::Api,
        backend::{Backend, key_for},
        message::{Headers, bearer},
        server::Server,
    },
};

/// A member of every room, all of whose tokens are revoked.
pub(crate) const GONE: &str = "gone";
/// A member of every room, whose device `lost` is signed out.
pub(crate) const LOST: &str = "lost";
/// The device that tokens are bound to, where they are.
const PHONE: &str = "phone";
const ALL_SCOPES: &str = "send,conversations,read,presence,admin";

/// The server and the credentials.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) api: Api,
    pub(crate) backend: Backend,
    /// Of each scope: the secrets of a key that has it alone, and of one that has all others.
    keys: BTreeMap<Scope, (String, String)>,
    revoked_key: String,
    other_tenants_key: String,
    revoked_token: String,
    signed_out_token: String,
    /// Of the user whose device is signed out, for no device in particular.
    pub(crate) unbound_token: String,
    number: AtomicU64,
    _folder: TempDir,
}

impl Ground {
    /// Starts the server, and makes keys and revocations.
    pub(crate) async fn prepare() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // So many cells are no test of rates.
        let settings = [
            "core_gateway.user_requests_per_s=100000",
            "core_gateway.user_burst=100000",
            "core_gateway.api_key_requests_per_s=100000",
            "core_gateway.api_key_burst=100000",
        ];
        let server = Server::ephemeral(folder.path(), &settings)?;
        let api = Api::of(server.api()).await?;
        let (_, key) = server.api_key("default", ALL_SCOPES)?;
        let (_, other_tenants_key) = server.api_key("other", ALL_SCOPES)?;
        let (revoked_id, revoked_key) = server.api_key("default", ALL_SCOPES)?;
        server.revoke_api_key(&revoked_id)?;
        let backend = Backend {
            channel: api.channel.clone(),
            key,
        };
        let token = |user, device| server.token("default", user, device, Duration::ZERO);
        let (revoked_token, signed_out_token) = (token(GONE, None)?, token(LOST, Some(LOST))?);
        let unbound_token = token(LOST, None)?;
        for (user, device) in [(GONE, ""), (LOST, LOST)] {
            let request = AdminDeviceRequest {
                user_id: user.to_owned(),
                device_id: device.to_owned(),
                ..AdminDeviceRequest::default()
            };
            backend.client().revoke(backend.as_system(request)).await?;
        }
        let mut keys = BTreeMap::new();
        for scope in Scope::ALL {
            let others = Scope::ALL.into_iter().filter(|it| *it != scope).collect();
            let alone = make_key(&backend, vec![scope]).await?;
            keys.insert(scope, (alone, make_key(&backend, others).await?));
        }
        Ok(Self {
            server,
            api,
            backend,
            keys,
            revoked_key,
            other_tenants_key,
            revoked_token,
            signed_out_token,
            unbound_token,
            number: AtomicU64::new(1),
            _folder: folder,
        })
    }

    /// Another number each time.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    /// What the caller connects with: token and device.
    pub(crate) fn connects_with(
        &self,
        stage: &Stage,
        caller: Caller,
    ) -> anyhow::Result<(String, &'static str)> {
        let key = || self.backend.key.clone();
        Ok(match caller {
            Caller::WrongDevice => (self.token(stage, caller)?, "tablet"),
            Caller::SignedOut => (self.token(stage, caller)?, LOST),
            Caller::Nobody => (String::new(), PHONE),
            Caller::RevokedKey => (self.revoked_key.clone(), PHONE),
            Caller::OtherTenantsKey => (self.other_tenants_key.clone(), PHONE),
            it if it.has_key() => (key(), PHONE),
            _ => (self.token(stage, caller)?, PHONE),
        })
    }

    /// The headers by which the caller calls a method of this access.
    pub(crate) fn headers(
        &self,
        stage: &Stage,
        caller: Caller,
        access: Access,
    ) -> anyhow::Result<Headers> {
        let (with_scope, without_scope) = &self.keys[&access.scope];
        let is_user_s = access.callers == Callers::AsUser;
        let for_owner_where_needed = |secret: &str| match is_user_s {
            true => key_for(secret, &stage.owner),
            false => vec![("x-api-key", secret.to_owned())],
        };
        Ok(match caller {
            Caller::Nobody => Headers::new(),
            Caller::Key => vec![("x-api-key", with_scope.clone())],
            Caller::KeyForOwner => key_for(with_scope, &stage.owner),
            Caller::KeyForStranger => key_for(with_scope, &stage.stranger),
            Caller::KeyWithoutScope => for_owner_where_needed(without_scope),
            Caller::RevokedKey => for_owner_where_needed(&self.revoked_key),
            // Of a user there who has the owner's name.
            Caller::OtherTenantsKey => for_owner_where_needed(&self.other_tenants_key),
            _ => bearer(&self.token(stage, caller)?),
        })
    }

    fn token(&self, stage: &Stage, caller: Caller) -> anyhow::Result<String> {
        let good = |user| self.server.token("default", user, None, Duration::ZERO);
        match caller {
            Caller::Admin => good(&stage.admin),
            Caller::Member => good(&stage.member),
            Caller::Left => good(&stage.left),
            Caller::Removed => good(&stage.removed),
            Caller::Stranger => good(&stage.stranger),
            Caller::OtherTenant => self
                .server
                .token("other", &stage.owner, None, Duration::ZERO),
            Caller::Expired => {
                let age = Duration::from_secs(7_200);
                self.server.token("default", &stage.owner, None, age)
            }
            Caller::WrongDevice => {
                let phone = Some(PHONE);
                self.server
                    .token("default", &stage.owner, phone, Duration::ZERO)
            }
            Caller::Revoked => Ok(self.revoked_token.clone()),
            Caller::SignedOut => Ok(self.signed_out_token.clone()),
            _ => good(&stage.owner),
        }
    }
}

async fn make_key(backend: &Backend, scopes: Vec<Scope>) -> anyhow::Result<String> {
    let request = CreateApiKeyRequest {
        name: "of-the-table".to_owned(),
        scopes: scopes.iter().map(|it| it.name().to_owned()).collect(),
        ..CreateApiKeyRequest::default()
    };
    let made = backend
        .client()
        .create_api_key(backend.as_system(request))
        .await
        .context("an API key")?;
    Ok(made.into_inner().secret)
}
