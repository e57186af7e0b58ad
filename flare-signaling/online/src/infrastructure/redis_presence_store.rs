//! Presence in Redis, for any number of these services.

use std::time::Duration;

use async_trait::async_trait;
use flare_server_core::{
    identity::MAX_LIFE_S,
    redis::{EPOCH_LUA, Redis, RedisError},
};
use redis::{Script, ScriptInvocation};

use crate::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Located, Registered},
        revocation::DeviceKey,
    },
};

/// Connections that one script changes: for so long nobody else is served.
const BATCH: usize = 500;
/// Users that one script looks up.
const LOOKUP: usize = 1_000;
/// Another of these services may have begun to hold a gateway: leases are looked at so often at least.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What nobody has touched goes by itself. A connection registers again with each of its tokens, none of which lives longer.
const KEPT_S: i64 = MAX_LIFE_S + 86_400;

/// Hashes of devices by user, and leases of gateways that expire by Redis' clock: see `redis_presence_store/leases.lua`.
///
/// A lease belongs to the epoch in which it was made, so that a flush, a restart or a fail-over ends all of them: gateways then register
/// all again, as after any lost lease. Needs Redis 6.2.
pub struct RedisPresenceStore {
    redis: Redis,
    prefix: String,
    renew: Script,
    register: Script,
    unregister: Script,
    lookup: Script,
    gateways: Script,
    lease: Script,
    expire: Script,
    next_expiry: Script,
}

const LEASES_LUA: &str = include_str!("redis_presence_store/leases.lua");
const HOLD_LUA: &str = include_str!("redis_presence_store/hold.lua");

fn reading(script: &str) -> Script {
    Script::new(&format!("{LEASES_LUA}{script}"))
}

fn holding(script: &str) -> Script {
    Script::new(&format!("{EPOCH_LUA}{LEASES_LUA}{HOLD_LUA}{script}"))
}

impl RedisPresenceStore {
    /// Keeps presence there.
    pub fn new(redis: Redis) -> Self {
        Self {
            prefix: redis.key("presence:"),
            redis,
            renew: holding(include_str!("redis_presence_store/renew.lua")),
            register: holding(include_str!("redis_presence_store/register.lua")),
            unregister: reading(include_str!("redis_presence_store/unregister.lua")),
            lookup: reading(include_str!("redis_presence_store/lookup.lua")),
            gateways: reading(include_str!("redis_presence_store/gateways.lua")),
            lease: reading(include_str!("redis_presence_store/lease.lua")),
            expire: reading(include_str!("redis_presence_store/expire.lua")),
            next_expiry: reading(include_str!("redis_presence_store/next_expiry.lua")),
        }
    }

    fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.key(self.redis.epoch_key());
        call.key(format!("{}leases", self.prefix)).arg(&self.prefix);
        call
    }

    fn hold<'a>(
        &self,
        script: &'a Script,
        gateway: &Gateway,
        lease: Duration,
    ) -> ScriptInvocation<'a> {
        let mut call = self.call(script);
        call.arg(self.redis.fresh())
            .arg(&gateway.incarnation)
            .arg(&gateway.endpoint)
            .arg(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(1));
        call
    }

    fn user_key(&self, tenant: &str, user: &str) -> String {
        format!("{}user:{}:{tenant}:{user}", self.prefix, tenant.len())
    }

    /// The device that a script calls "<user's key> <device>".
    fn device(&self, named: &str) -> Option<DeviceKey> {
        let (user, device) = named.split_once(' ')?;
        let (length, names) = user
            .strip_prefix(&self.prefix)?
            .strip_prefix("user:")?
            .split_once(':')?;
        let (tenant, user) = names.split_at_checked(length.parse().ok()?)?;
        Some(DeviceKey {
            tenant: tenant.to_owned(),
            user: user.strip_prefix(':')?.to_owned(),
            device: device.to_owned(),
        })
    }
}

/// So that ids sort as text.
fn sortable(connection_id: u64) -> String {
    format!("{connection_id:020}")
}

fn unavailable(error: RedisError) -> PortError {
    PortError {
        what: "presence",
        why: error.to_string(),
    }
}

fn senseless(what: &str) -> PortError {
    PortError {
        what: "presence",
        why: format!("redis answers with {what}, which nobody has written"),
    }
}

/// What scripts say of a connection: incarnation, endpoint, id, connected, platform.
fn located(device: &str, parts: &[String]) -> Result<Located, PortError> {
    let [incarnation, endpoint, connection_id, connected, platform] = parts else {
        return Err(senseless("half a connection"));
    };
    Ok(Located {
        gateway: Gateway {
            incarnation: incarnation.clone(),
            endpoint: endpoint.clone(),
        },
        connection_id: connection_id
            .parse()
            .map_err(|_| senseless("a connection without an id"))?,
        device: device.to_owned(),
        platform: platform.clone(),
        connected_ms: connected
            .parse()
            .map_err(|_| senseless("a connection without a time"))?,
    })
}

fn outcome(device: &str, parts: &[String]) -> Result<Registered, PortError> {
    let Some((word, parts)) = parts.split_first() else {
        return Err(senseless("no outcome"));
    };
    Ok(match word.as_str() {
        "stands" => Registered::Stands { displaced: None },
        "displaces" => Registered::Stands {
            displaced: Some(located(device, parts)?),
        },
        "outdated" => Registered::Outdated,
        "yields" => Registered::Yields,
        "too many" => Registered::TooManyDevices,
        other => return Err(senseless(other)),
    })
}

#[async_trait]
impl PresenceStore for RedisPresenceStore {
    async fn renew(&self, gateway: &Gateway, lease: Duration) -> Result<u64, PortError> {
        let call = self.hold(&self.renew, gateway, lease);
        self.redis.script(&call).await.map_err(unavailable)
    }

    async fn register(
        &self,
        gateway: &Gateway,
        connections: Vec<Connection>,
        max_devices: usize,
        lease: Duration,
    ) -> Result<Vec<Registered>, PortError> {
        let mut outcomes = Vec::with_capacity(connections.len());
        for some in connections.chunks(BATCH) {
            let mut call = self.hold(&self.register, gateway, lease);
            call.arg(max_devices).arg(KEPT_S);
            for it in some {
                call.key(self.user_key(&it.device.tenant, &it.device.user))
                    .arg(&it.device.device)
                    .arg(sortable(it.connection_id))
                    .arg(u8::from(it.again))
                    .arg(it.connected_ms)
                    .arg(&it.platform);
            }
            let answers: Vec<Vec<String>> = self.redis.script(&call).await.map_err(unavailable)?;
            if answers.len() != some.len() {
                return Err(senseless("another number of outcomes"));
            }
            for (it, answer) in some.iter().zip(answers) {
                outcomes.push(outcome(&it.device.device, &answer)?);
            }
        }
        Ok(outcomes)
    }

    async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<Vec<DeviceKey>, PortError> {
        let mut gone = Vec::new();
        for some in connections.chunks(BATCH) {
            let mut call = self.call(&self.unregister);
            call.arg(incarnation);
            for (device, connection_id) in some {
                call.key(self.user_key(&device.tenant, &device.user))
                    .arg(&device.device)
                    .arg(sortable(*connection_id));
            }
            let last: Vec<usize> = self.redis.script(&call).await.map_err(unavailable)?;
            let places = last.into_iter().map(|place| place.wrapping_sub(1));
            gone.extend(places.filter_map(|place| Some(some.get(place)?.0.whole_user())));
        }
        Ok(gone)
    }

    async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        let mut found = Vec::with_capacity(users.len());
        for some in users.chunks(LOOKUP) {
            let mut call = self.call(&self.lookup);
            for (tenant, user) in some {
                call.key(self.user_key(tenant, user));
            }
            let answers: Vec<Vec<String>> = self.redis.script(&call).await.map_err(unavailable)?;
            if answers.len() != some.len() {
                return Err(senseless("another number of users"));
            }
            for answer in answers {
                let mut connections = Vec::with_capacity(answer.len() / 6);
                for parts in answer.chunks(6) {
                    if let Some((device, parts)) = parts.split_first() {
                        connections.push(located(device, parts)?);
                    }
                }
                connections.sort_by(|one: &Located, other| one.device.cmp(&other.device));
                found.push(connections);
            }
        }
        Ok(found)
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, PortError> {
        let answer: Vec<String> = self
            .redis
            .script(&self.call(&self.gateways))
            .await
            .map_err(unavailable)?;
        let named = answer.chunks_exact(2).map(|it| Gateway {
            incarnation: it[0].clone(),
            endpoint: it[1].clone(),
        });
        Ok(named.collect())
    }

    async fn lease(&self, incarnation: &str) -> Result<Option<u64>, PortError> {
        let mut call = self.call(&self.lease);
        call.arg(incarnation);
        self.redis.script(&call).await.map_err(unavailable)
    }

    async fn expire(&self) -> Result<Vec<DeviceKey>, PortError> {
        let mut gone = Vec::new();
        loop {
            let mut call = self.call(&self.expire);
            call.arg(BATCH);
            let (more, some): (bool, Vec<String>) =
                self.redis.script(&call).await.map_err(unavailable)?;
            gone.extend(some.iter().filter_map(|it| self.device(it)));
            if !more {
                return Ok(gone);
            }
        }
    }

    async fn next_expiry(&self) -> Result<Option<Duration>, PortError> {
        let call = self.call(&self.next_expiry);
        let (wait_ms, connections): (i64, u64) =
            self.redis.script(&call).await.map_err(unavailable)?;
        metrics::gauge!("flare_online_connections").set(connections as f64);
        let wait = u64::try_from(wait_ms).map_or(LOOK_EVERY, Duration::from_millis);
        Ok(Some(wait.min(LOOK_EVERY)))
    }
}
