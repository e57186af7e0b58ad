use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Health, Registrant, Registration, Registry,
    etcd_table::{Entry, Table, key_of},
};
use crate::etcd::{
    EtcdClient, EtcdConfig, EtcdError,
    rpc::{Event, event::EventType},
};

/// A lease is renewed so many times while it lasts.
const RENEWALS: u32 = 3;
/// Between attempts, at first and in the long run.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Processes by their keys in etcd, one a service: `<prefix>services/<service>/<endpoint>`, on a lease of the process. The value says where
/// it answers and how it is.
///
/// All keys are read once, and watched from the revision of that reading on. When the watch breaks, or its history is gone, they are read
/// again; until then, and for as long as a lease lasts after it, whoever was known is believed. A process whose lease was lost registers
/// again with another.
pub struct EtcdRegistry {
    client: Arc<EtcdClient>,
    prefix: String,
    lease_s: u32,
    view: Arc<View>,
    _end: DropGuard,
}

/// What is known, shared by those who write and those who read it.
#[derive(Default)]
struct View(Mutex<Seen>);

/// What is known, and who wants to know of which service.
#[derive(Default)]
struct Seen {
    table: Table,
    watched: HashMap<String, watch::Sender<Vec<String>>>,
}

impl EtcdRegistry {
    /// Begins to follow etcd, whether it answers already or not.
    ///
    /// # Errors
    /// If the configuration names no usable endpoint.
    pub fn open(config: &EtcdConfig) -> Result<Self, EtcdError> {
        let client = Arc::new(EtcdClient::new(config)?);
        let prefix = format!("{}services/", config.prefix);
        let view = Arc::<View>::default();
        let end = CancellationToken::new();
        let follower = Follower {
            client: Arc::clone(&client),
            prefix: prefix.clone(),
            view: Arc::clone(&view),
            lease: Duration::from_secs(config.lease_s.into()),
        };
        let until_end = end.clone();
        tokio::spawn(async move { until_end.run_until_cancelled(follower.run()).await });
        Ok(Self {
            client,
            prefix,
            lease_s: config.lease_s,
            view,
            _end: end.drop_guard(),
        })
    }
}

impl Registry for EtcdRegistry {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        let Seen { table, watched } = &mut *self.view.lock();
        watched
            .entry(service.to_owned())
            .or_insert_with(|| watch::Sender::new(table.endpoints(service)))
            .subscribe()
    }

    fn register(&self, services: &[&str], endpoint: &str) -> Registration {
        let (registration, registrant) = Registration::pair();
        let key = |service: &&str| format!("{}{}", self.prefix, key_of(service, endpoint));
        let holder = Holder {
            client: Arc::clone(&self.client),
            keys: services.iter().map(key).collect(),
            endpoint: endpoint.to_owned(),
            lease_s: self.lease_s,
            registrant,
        };
        tokio::spawn(holder.run());
        registration
    }
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and tells those whom it concerns. Returns when there is something to settle.
    fn change(&self, change: impl FnOnce(&mut Table)) -> Option<Instant> {
        let Seen { table, watched } = &mut *self.lock();
        change(table);
        table.settle(Instant::now());
        for (service, endpoints) in watched {
            let current = table.endpoints(service);
            endpoints.send_if_modified(|known| {
                let has_changed = *known != current;
                *known = current;
                has_changed
            });
        }
        table.next_doubt()
    }
}

/// Short beside a lease, as a process that is missing after an outage is believed for one.
fn pauses(lease: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE.min(lease / 4))
        .with_jitter()
        .without_max_times()
        .build()
}

async fn pause(pauses: &mut ExponentialBackoff) {
    sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
}

/// Keeps the view current.
struct Follower {
    client: Arc<EtcdClient>,
    prefix: String,
    view: Arc<View>,
    lease: Duration,
}

impl Follower {
    async fn run(self) {
        let mut waits = pauses(self.lease);
        loop {
            let Err(error) = self.follow(&mut waits).await;
            metrics::counter!("flare_registry_resyncs_total").increment(1);
            tracing::warn!(%error, "the registry is read again; until then its endpoints stay as they are");
            pause(&mut waits).await;
        }
    }

    async fn follow(&self, waits: &mut ExponentialBackoff) -> Result<Infallible, EtcdError> {
        let snapshot = self.client.snapshot(&self.prefix).await?;
        let mut watch = self
            .client
            .watch(&self.prefix, snapshot.revision + 1)
            .await?;
        *waits = pauses(self.lease);
        let all: Vec<_> = snapshot
            .pairs
            .iter()
            .filter_map(|it| Some((self.name(&it.key)?, it.value.as_slice())))
            .collect();
        let mut doubt = self
            .view
            .change(|table| table.replace(all, Instant::now(), self.lease));
        loop {
            let settling = async {
                match doubt {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let events = tokio::select! {
                events = watch.next() => events?,
                () = settling => Vec::new(),
            };
            doubt = self.view.change(|table| {
                for event in &events {
                    self.apply(table, event);
                }
            });
        }
    }

    fn apply(&self, table: &mut Table, event: &Event) {
        let Some(pair) = &event.kv else { return };
        let Some(name) = self.name(&pair.key) else {
            return;
        };
        match event.r#type() {
            EventType::Put => table.put(name, &pair.value),
            EventType::Delete => table.delete(name),
        }
    }

    fn name<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)
    }
}

/// Keeps one process's keys.
struct Holder {
    client: Arc<EtcdClient>,
    keys: Vec<String>,
    endpoint: String,
    lease_s: u32,
    registrant: Registrant,
}

impl Holder {
    async fn run(mut self) {
        let mut lease = None;
        let mut waits = pauses(self.lasts());
        while let Err(error) = self.hold(&mut lease, &mut waits).await {
            if let EtcdError::NoSuchLease(_) = error {
                lease = None;
            }
            tracing::warn!(%error, endpoint = %self.endpoint, "this process is registered again");
            tokio::select! {
                () = pause(&mut waits) => {}
                () = left(&mut self.registrant.health) => break,
            }
        }
        if let Some(lease) = lease
            && let Err(error) = self.client.revoke(lease).await
        {
            tracing::warn!(%error, endpoint = %self.endpoint, "this process's entry goes with its lease");
        }
    }

    /// Until the process leaves.
    async fn hold(
        &mut self,
        lease: &mut Option<i64>,
        waits: &mut ExponentialBackoff,
    ) -> Result<(), EtcdError> {
        let every = self.lasts() / RENEWALS;
        loop {
            let held_on = match *lease {
                Some(lease) => lease,
                None => *lease.insert(self.client.grant(self.lease_s).await?),
            };
            let health = *self.registrant.health.borrow_and_update();
            self.client.put_all(self.pairs(health), held_on).await?;
            self.registrant.record(health);
            *waits = pauses(self.lasts());
            loop {
                tokio::select! {
                    changed = self.registrant.health.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                    () = sleep(every) => self.client.keep_alive(held_on).await?,
                }
            }
        }
    }

    fn lasts(&self) -> Duration {
        Duration::from_secs(self.lease_s.into())
    }

    fn pairs(&self, health: Health) -> Vec<(String, Vec<u8>)> {
        let entry = Entry {
            endpoint: self.endpoint.clone(),
            health,
        };
        let value = serde_json::to_vec(&entry).unwrap_or_default();
        let pair = |key: &String| (key.clone(), value.clone());
        self.keys.iter().map(pair).collect()
    }
}

/// Resolves when the registration was given up.
async fn left(health: &mut watch::Receiver<Health>) {
    while health.changed().await.is_ok() {}
}
