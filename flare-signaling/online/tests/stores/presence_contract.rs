//! The obligations of `PresenceStore`, for every adapter.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use flare_signaling_online::{
    application::ports::PresenceStore,
    domain::{
        presence::{Connection, Gateway, Located, Registered},
        revocation::DeviceKey,
    },
};

/// What a check found wrong.
pub(crate) type Outcome = Result<(), String>;

/// Where a store lives. Each check gets its own, empty.
#[async_trait]
pub(crate) trait PresenceSite: Send + Sync {
    /// The store as one more service opens it.
    async fn open(&self) -> Arc<dyn PresenceStore>;
    /// The store after it has lost everything.
    async fn open_after_loss(&self) -> Arc<dyn PresenceStore>;
    /// How long leases last.
    fn lease(&self) -> Duration;
    /// Waits until the store's clock has gone on by so much.
    async fn pass(&self, by: Duration);
}

type Site = Arc<dyn PresenceSite>;

/// An obligation: its name, and what checks it.
pub(crate) type Obligation = (
    &'static str,
    fn(Site) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
);

pub(crate) const OBLIGATIONS: [Obligation; 7] = [
    ("one_connection_a_device", |site| {
        Box::pin(one_connection_a_device(site))
    }),
    ("who_comes_again_yields", |site| {
        Box::pin(who_comes_again_yields(site))
    }),
    ("compare_and_delete", |site| {
        Box::pin(compare_and_delete(site))
    }),
    ("leases", |site| Box::pin(leases(site))),
    ("a_lease_for_what_stands_on_it", |site| {
        Box::pin(a_lease_for_what_stands_on_it(site))
    }),
    ("tenants", |site| Box::pin(tenants(site))),
    ("all_that_are_held", |site| {
        Box::pin(all_that_are_held(site))
    }),
];

/// An error unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, ought: T) -> Outcome {
    if is == ought {
        Ok(())
    } else {
        Err(format!("{what}: is {is:?}, ought to be {ought:?}"))
    }
}

pub(crate) fn gateway(name: &str) -> Gateway {
    Gateway {
        incarnation: name.to_owned(),
        endpoint: format!("http://{name}"),
    }
}

pub(crate) fn phone(tenant: &str) -> DeviceKey {
    DeviceKey {
        tenant: tenant.to_owned(),
        user: "alice".to_owned(),
        device: "phone".to_owned(),
    }
}

pub(crate) fn connection(device: DeviceKey, connection_id: u64) -> Connection {
    Connection {
        device,
        platform: "a phone, 5 inches\nwide".to_owned(),
        connection_id,
        connected_ms: -7,
        again: false,
    }
}

/// A store, with the lease that its site gives.
struct Held {
    store: Arc<dyn PresenceStore>,
    site: Site,
}

impl Held {
    async fn open(site: Site) -> Self {
        Self {
            store: site.open().await,
            site,
        }
    }

    async fn register(&self, at: &str, device: DeviceKey, id: u64) -> Result<Registered, String> {
        self.put(at, connection(device, id)).await
    }

    async fn put(&self, at: &str, connection: Connection) -> Result<Registered, String> {
        let outcomes = self
            .store
            .register(&gateway(at), vec![connection], 5, self.site.lease())
            .await;
        let mut outcomes = outcomes.map_err(|error| error.to_string())?;
        outcomes.pop().ok_or_else(|| "no outcome".to_owned())
    }

    /// The gateways and ids of a user's connections.
    async fn found(&self, tenant: &str) -> Result<Vec<(String, u64)>, String> {
        let place = |it: Located| (it.gateway.incarnation, it.connection_id);
        Ok(self.located(tenant).await?.into_iter().map(place).collect())
    }

    async fn located(&self, tenant: &str) -> Result<Vec<Located>, String> {
        let users = [(tenant.to_owned(), "alice".to_owned())];
        let located = self.store.lookup(&users).await;
        let located = located.map_err(|it| it.to_string())?;
        Ok(located.into_iter().flatten().collect())
    }

    async fn unregister(
        &self,
        at: &str,
        device: DeviceKey,
        id: u64,
    ) -> Result<Vec<DeviceKey>, String> {
        let gone = self.store.unregister(at, &[(device, id)]).await;
        gone.map_err(|it| it.to_string())
    }

    async fn renew(&self, at: &str) -> Result<u64, String> {
        let renewed = self.store.renew(&gateway(at), self.site.lease()).await;
        renewed.map_err(|it| it.to_string())
    }

    async fn lease_of(&self, at: &str) -> Result<Option<u64>, String> {
        self.store.lease(at).await.map_err(|it| it.to_string())
    }

    /// Moves the clock on.
    async fn later(&self, by: Duration) -> Result<Vec<DeviceKey>, String> {
        self.site.pass(by).await;
        self.store.expire().await.map_err(|it| it.to_string())
    }
}

async fn one_connection_a_device(site: Site) -> Outcome {
    let held = Held::open(site).await;
    let alone = Registered::Stands { displaced: None };
    let first = held.register("a", phone("t"), 1).await?;
    same("the first", first, alone.clone())?;
    let located = Located {
        gateway: gateway("a"),
        connection_id: 1,
        device: "phone".to_owned(),
        platform: connection(phone("t"), 1).platform,
        connected_ms: -7,
    };
    same("as found", held.located("t").await?, vec![located.clone()])?;
    let displaces = Registered::Stands {
        displaced: Some(located),
    };
    same(
        "the second",
        held.register("b", phone("t"), 2).await?,
        displaces,
    )?;
    same(
        "once more",
        held.register("b", phone("t"), 2).await?,
        alone.clone(),
    )?;
    let late = held.register("b", phone("t"), 1).await?;
    same("a lower id of the gateway", late, Registered::Outdated)?;
    same(
        "who stands",
        held.found("t").await?,
        vec![("b".to_owned(), 2)],
    )?;
    for id in 1..=4 {
        let device = format!("another {id}").replace(' ', "-");
        let other = DeviceKey {
            device,
            ..phone("t")
        };
        same(
            "another device",
            held.register("a", other, id).await?,
            alone.clone(),
        )?;
    }
    let sixth = DeviceKey {
        device: "one-too-many".to_owned(),
        ..phone("t")
    };
    same(
        "one too many",
        held.register("a", sixth, 9).await?,
        Registered::TooManyDevices,
    )
}

async fn who_comes_again_yields(site: Site) -> Outcome {
    let held = Held::open(site).await;
    let again = |id| Connection {
        again: true,
        ..connection(phone("t"), id)
    };
    let alone = Registered::Stands { displaced: None };
    same("who finds nothing", held.put("a", again(1)).await?, alone)?;
    same(
        "who finds another",
        held.put("b", again(2)).await?,
        Registered::Yields,
    )?;
    same(
        "who stands",
        held.found("t").await?,
        vec![("a".to_owned(), 1)],
    )
}

async fn compare_and_delete(site: Site) -> Outcome {
    let held = Held::open(site).await;
    held.register("a", phone("t"), 1).await?;
    held.register("b", phone("t"), 2).await?;
    for (incarnation, id) in [("a", 1), ("a", 2), ("b", 1)] {
        let gone = held.unregister(incarnation, phone("t"), id).await?;
        same("who went", gone, Vec::new())?;
    }
    same(
        "who stands",
        held.found("t").await?,
        vec![("b".to_owned(), 2)],
    )?;
    let gone = held.unregister("b", phone("t"), 2).await?;
    same("who went", gone, vec![phone("t").whole_user()])?;
    same("who stands", held.found("t").await?, Vec::new())
}

async fn leases(site: Site) -> Outcome {
    let held = Held::open(site).await;
    let quarter = held.site.lease() / 4;
    held.register("a", phone("t"), 1).await?;
    held.later(quarter * 2).await?;
    held.renew("a").await?;
    held.later(quarter * 3).await?;
    let left = held
        .store
        .next_expiry()
        .await
        .map_err(|it| it.to_string())?;
    if let Some(left) = left {
        let is_near = left > Duration::ZERO && left <= quarter;
        same(&format!("until it ends: {left:?}"), is_near, true)?;
    }
    same("while it lasts", held.found("t").await?.len(), 1)?;
    held.site.pass(quarter).await;
    let gone = held.store.expire().await.map_err(|it| it.to_string())?;
    same("who went", gone, vec![phone("t")])?;
    same("when it has ended", held.found("t").await?, Vec::new())?;
    same("of its gateway", held.lease_of("a").await?, None)
}

async fn all_that_are_held(site: Site) -> Outcome {
    let held = Held::open(site).await;
    let named = async || {
        let gateways = held.store.gateways().await;
        let mut gateways = gateways.map_err(|it| it.to_string())?;
        gateways.sort_by(|one, other| one.incarnation.cmp(&other.incarnation));
        Ok::<_, String>(gateways)
    };
    same("nobody is held", named().await?, Vec::new())?;
    held.renew("a").await?;
    held.register("b", phone("t"), 1).await?;
    same("both", named().await?, vec![gateway("a"), gateway("b")])?;
    held.unregister("b", phone("t"), 1).await?;
    same(
        "without connections",
        named().await?,
        vec![gateway("a"), gateway("b")],
    )
}

async fn a_lease_for_what_stands_on_it(site: Site) -> Outcome {
    let held = Held::open(site).await;
    held.register("a", phone("t"), 1).await?;
    let first = held.renew("a").await?;
    held.register("a", phone("t"), 2).await?;
    same("while it is held", held.renew("a").await?, first)?;
    same("as it is said", held.lease_of("a").await?, Some(first))?;
    let mut made = vec![0, first];
    let mut is_fresh = |what: &str, id: u64| {
        let fresh = !made.contains(&id);
        made.push(id);
        same(what, fresh, true)
    };
    is_fresh("another gateway's", held.renew("b").await?)?;
    held.later(held.site.lease()).await?;
    if held.found("t").await?.is_empty() {
        held.register("a", phone("t"), 3).await?;
        is_fresh("after its end", held.renew("a").await?)?;
    }
    let restarted = Held {
        store: held.site.open_after_loss().await,
        site: Arc::clone(&held.site),
    };
    same("what is left", restarted.found("t").await?, Vec::new())?;
    is_fresh("after a loss", restarted.renew("a").await?)
}

async fn tenants(site: Site) -> Outcome {
    let held = Held::open(site).await;
    held.register("a", phone("mine"), 1).await?;
    same("of another", held.found("other").await?, Vec::new())?;
    same("of his own", held.found("mine").await?.len(), 1)
}
