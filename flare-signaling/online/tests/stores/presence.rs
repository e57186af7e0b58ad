//! `PresenceStore`.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::clock::IdSource;
use flare_signaling_online::{
    application::ports::{PortError, PresenceStore},
    domain::{
        presence::{Connection, Gateway, Located, Registered},
        revocation::DeviceKey,
    },
    infrastructure::memory_presence_store::MemoryPresenceStore,
};

use crate::{Obligation, Outcome, same, violated};

const LEASE: Duration = Duration::from_millis(1_000);

/// A way to break one obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    HidesTheDisplaced,
    DisplacesByWhoeverComesAgain,
    DeletesWhateverStands,
    ForgetsNoLease,
    NamesLeasesAlike,
    MixesTenants,
}

struct Flawed {
    inner: MemoryPresenceStore,
    flaw: Option<Flaw>,
    /// Every connection that was ever registered.
    registered: Mutex<Vec<(Gateway, Connection)>>,
}

#[async_trait]
impl PresenceStore for Flawed {
    async fn renew(&self, gateway: &Gateway, lease: Duration) -> Result<u64, PortError> {
        let id = self.inner.renew(gateway, lease).await?;
        Ok(match self.flaw {
            Some(Flaw::NamesLeasesAlike) => 1,
            _ => id,
        })
    }

    async fn register(
        &self,
        gateway: &Gateway,
        mut connections: Vec<Connection>,
        max_devices: usize,
        lease: Duration,
    ) -> Result<Vec<Registered>, PortError> {
        if self.flaw == Some(Flaw::MixesTenants) {
            for it in &mut connections {
                "one".clone_into(&mut it.device.tenant);
            }
        }
        if self.flaw == Some(Flaw::DisplacesByWhoeverComesAgain) {
            connections.iter_mut().for_each(|it| it.again = false);
        }
        let made = connections.iter().map(|it| (gateway.clone(), it.clone()));
        self.registered.lock().unwrap().extend(made);
        let mut outcomes = self
            .inner
            .register(gateway, connections, max_devices, lease)
            .await?;
        if self.flaw == Some(Flaw::HidesTheDisplaced) {
            for outcome in &mut outcomes {
                if let Registered::Stands { displaced } = outcome {
                    *displaced = None;
                }
            }
        }
        Ok(outcomes)
    }

    async fn unregister(
        &self,
        incarnation: &str,
        connections: &[(DeviceKey, u64)],
    ) -> Result<Vec<DeviceKey>, PortError> {
        if self.flaw == Some(Flaw::MixesTenants) {
            let mut connections = connections.to_vec();
            for (device, _) in &mut connections {
                "one".clone_into(&mut device.tenant);
            }
            let mut gone = self.inner.unregister(incarnation, &connections).await?;
            gone.iter_mut()
                .for_each(|it| "t".clone_into(&mut it.tenant));
            return Ok(gone);
        }
        if self.flaw != Some(Flaw::DeletesWhateverStands) {
            return self.inner.unregister(incarnation, connections).await;
        }
        let mut gone = Vec::new();
        let registered = self.registered.lock().unwrap().clone();
        for (gateway, it) in registered {
            if connections.iter().any(|(device, _)| *device == it.device) {
                let stands = [(it.device, it.connection_id)];
                gone.extend(self.inner.unregister(&gateway.incarnation, &stands).await?);
            }
        }
        Ok(gone)
    }

    async fn lookup(&self, users: &[(String, String)]) -> Result<Vec<Vec<Located>>, PortError> {
        let tenant_of = |tenant: &String| match self.flaw {
            Some(Flaw::MixesTenants) => "one".to_owned(),
            _ => tenant.clone(),
        };
        let users: Vec<_> = users
            .iter()
            .map(|(tenant, user)| (tenant_of(tenant), user.clone()))
            .collect();
        self.inner.lookup(&users).await
    }

    async fn lease(&self, incarnation: &str) -> Result<Option<u64>, PortError> {
        let id = self.inner.lease(incarnation).await?;
        Ok(match self.flaw {
            Some(Flaw::NamesLeasesAlike) => id.map(|_| 1),
            _ => id,
        })
    }

    async fn expire(&self) -> Result<Vec<DeviceKey>, PortError> {
        match self.flaw {
            Some(Flaw::ForgetsNoLease) => Ok(Vec::new()),
            _ => self.inner.expire().await,
        }
    }

    async fn next_expiry(&self) -> Result<Option<Duration>, PortError> {
        self.inner.next_expiry().await
    }
}

fn subject(flaw: Option<Flaw>) -> Arc<dyn PresenceStore> {
    Arc::new(Flawed {
        inner: MemoryPresenceStore::new(Arc::new(IdSource::from_os())),
        flaw,
        registered: Mutex::default(),
    })
}

fn gateway(name: &str) -> Gateway {
    Gateway {
        incarnation: name.to_owned(),
        endpoint: format!("http://{name}"),
    }
}

fn phone(tenant: &str) -> DeviceKey {
    DeviceKey {
        tenant: tenant.to_owned(),
        user: "alice".to_owned(),
        device: "phone".to_owned(),
    }
}

fn connection(device: DeviceKey, connection_id: u64) -> Connection {
    Connection {
        device,
        platform: "test".to_owned(),
        connection_id,
        connected_ms: 0,
        again: false,
    }
}

async fn register(
    store: &Arc<dyn PresenceStore>,
    at: &str,
    device: DeviceKey,
    id: u64,
) -> Result<Registered, String> {
    put(store, at, connection(device, id)).await
}

async fn put(
    store: &Arc<dyn PresenceStore>,
    at: &str,
    connection: Connection,
) -> Result<Registered, String> {
    let connections = vec![connection];
    let outcomes = store.register(&gateway(at), connections, 5, LEASE).await;
    let mut outcomes = outcomes.map_err(|error| error.to_string())?;
    outcomes.pop().ok_or_else(|| "no outcome".to_owned())
}

/// The gateways and ids of a user's connections.
async fn found(store: &Arc<dyn PresenceStore>, tenant: &str) -> Result<Vec<(String, u64)>, String> {
    let users = [(tenant.to_owned(), "alice".to_owned())];
    let located = store.lookup(&users).await.map_err(|it| it.to_string())?;
    let place = |it: Located| (it.gateway.incarnation, it.connection_id);
    Ok(located.into_iter().flatten().map(place).collect())
}

async fn one_connection_a_device(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    let alone = Registered::Stands { displaced: None };
    same(
        "the first",
        register(&store, "a", phone("t"), 1).await?,
        alone.clone(),
    )?;
    match register(&store, "b", phone("t"), 2).await? {
        Registered::Stands {
            displaced: Some(displaced),
        } => same("the displaced one", displaced.connection_id, 1)?,
        other => return Err(format!("the second: {other:?}")),
    }
    same(
        "once more",
        register(&store, "b", phone("t"), 2).await?,
        alone,
    )?;
    let late = register(&store, "b", phone("t"), 1).await?;
    same("a lower id of the gateway", late, Registered::Outdated)?;
    same(
        "who stands",
        found(&store, "t").await?,
        vec![("b".to_owned(), 2)],
    )
}

async fn who_comes_again_yields(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    let again = |id| Connection {
        again: true,
        ..connection(phone("t"), id)
    };
    let alone = Registered::Stands { displaced: None };
    same(
        "who finds nothing",
        put(&store, "a", again(1)).await?,
        alone,
    )?;
    same(
        "who finds another",
        put(&store, "b", again(2)).await?,
        Registered::Yields,
    )?;
    same(
        "who stands",
        found(&store, "t").await?,
        vec![("a".to_owned(), 1)],
    )
}

async fn compare_and_delete(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    register(&store, "a", phone("t"), 1).await?;
    register(&store, "b", phone("t"), 2).await?;
    for (incarnation, id) in [("a", 1), ("a", 2), ("b", 1)] {
        let gone = store.unregister(incarnation, &[(phone("t"), id)]).await;
        same("who went", gone.map_err(|it| it.to_string())?, Vec::new())?;
    }
    same(
        "who stands",
        found(&store, "t").await?,
        vec![("b".to_owned(), 2)],
    )?;
    let gone = store.unregister("b", &[(phone("t"), 2)]).await;
    let users = vec![phone("t").whole_user()];
    same("who went", gone.map_err(|it| it.to_string())?, users)?;
    same("who stands", found(&store, "t").await?, Vec::new())
}

/// Moves the clock on.
async fn later(store: &Arc<dyn PresenceStore>, by: Duration) -> Result<(), String> {
    tokio::time::advance(by).await;
    store.expire().await.map_err(|it| it.to_string())?;
    Ok(())
}

async fn renew(store: &Arc<dyn PresenceStore>, at: &str) -> Result<u64, String> {
    let renewed = store.renew(&gateway(at), LEASE).await;
    renewed.map_err(|it| it.to_string())
}

async fn lease_of(store: &Arc<dyn PresenceStore>, at: &str) -> Result<Option<u64>, String> {
    store.lease(at).await.map_err(|it| it.to_string())
}

async fn leases(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    register(&store, "a", phone("t"), 1).await?;
    later(&store, LEASE / 2).await?;
    renew(&store, "a").await?;
    later(&store, LEASE / 2).await?;
    let left = store.next_expiry().await.map_err(|it| it.to_string())?;
    if let Some(left) = left {
        same("until it ends", left, LEASE / 2)?;
    }
    let shortly = Duration::from_millis(1);
    later(&store, LEASE / 2 - shortly).await?;
    same("while it lasts", found(&store, "t").await?.len(), 1)?;
    later(&store, shortly).await?;
    same("when it has ended", found(&store, "t").await?, Vec::new())?;
    same("of its gateway", lease_of(&store, "a").await?, None)
}

async fn a_lease_for_what_stands_on_it(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    register(&store, "a", phone("t"), 1).await?;
    let first = renew(&store, "a").await?;
    register(&store, "a", phone("t"), 2).await?;
    same("while it is held", renew(&store, "a").await?, first)?;
    same("as it is said", lease_of(&store, "a").await?, Some(first))?;
    let mut made = vec![0, first];
    let mut is_fresh = |what: &str, id: u64| {
        let fresh = !made.contains(&id);
        made.push(id);
        same(what, fresh, true)
    };
    is_fresh("another gateway's", renew(&store, "b").await?)?;
    later(&store, LEASE).await?;
    if found(&store, "t").await?.is_empty() {
        register(&store, "a", phone("t"), 3).await?;
        is_fresh("after its end", renew(&store, "a").await?)?;
    }
    let restarted = subject(flaw);
    is_fresh("after a restart", renew(&restarted, "a").await?)
}

async fn tenants(flaw: Option<Flaw>) -> Outcome {
    let store = subject(flaw);
    register(&store, "a", phone("mine"), 1).await?;
    same(
        "of another tenant",
        found(&store, "other").await?,
        Vec::new(),
    )?;
    same("of his own", found(&store, "mine").await?.len(), 1)
}

const OBLIGATIONS: [Obligation<Flaw>; 6] = [
    ("one_connection_a_device", |flaw| {
        Box::pin(one_connection_a_device(flaw))
    }),
    ("who_comes_again_yields", |flaw| {
        Box::pin(who_comes_again_yields(flaw))
    }),
    ("compare_and_delete", |flaw| {
        Box::pin(compare_and_delete(flaw))
    }),
    ("leases", |flaw| Box::pin(leases(flaw))),
    ("a_lease_for_what_stands_on_it", |flaw| {
        Box::pin(a_lease_for_what_stands_on_it(flaw))
    }),
    ("tenants", |flaw| Box::pin(tenants(flaw))),
];

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_every_obligation() {
    for (name, check) in OBLIGATIONS {
        assert_eq!(check(None).await, Ok(()), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_breaks_one_obligation_fails_that_test_only() {
    let flaws = [
        Flaw::HidesTheDisplaced,
        Flaw::DisplacesByWhoeverComesAgain,
        Flaw::DeletesWhateverStands,
        Flaw::ForgetsNoLease,
        Flaw::NamesLeasesAlike,
        Flaw::MixesTenants,
    ];
    for (flaw, (name, _)) in flaws.into_iter().zip(OBLIGATIONS) {
        assert_eq!(violated(&OBLIGATIONS, Some(flaw)).await, [name], "{flaw:?}");
    }
}
