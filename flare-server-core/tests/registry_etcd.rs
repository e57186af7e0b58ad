//! The registry in etcd keeps the contract of `Registry` against a real server, and comes through outages and lost history.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "registry/etcd.rs"]
mod etcd;
#[path = "registry/relay.rs"]
mod relay;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::{
    etcd::EtcdConfig,
    message_log::contract::violations,
    registry::{
        EtcdRegistry, Health, Registration, Registry, Unrecorded,
        contract::{Ability, RegistrySite, registry_obligations},
    },
};
use relay::Relay;
use tokio::{
    sync::{OnceCell, watch},
    time::timeout,
};

const LEASE_S: u32 = 2;
const SOON: Duration = Duration::from_secs(15);

fn config(at: &str, prefix: &str) -> EtcdConfig {
    EtcdConfig {
        endpoints: vec![format!("http://{at}")],
        prefix: prefix.to_owned(),
        lease_s: LEASE_S,
        timeout_ms: 1_000,
    }
}

/// Processes of one installation. The way to the server of each leads through a relay.
struct EtcdSite {
    prefix: String,
    relay: OnceCell<Relay>,
    entered: Mutex<HashMap<String, Entered>>,
}

/// A process of its own runtime, so that it can end without a word.
struct Entered {
    registration: Registration,
    runtime: tokio::runtime::Runtime,
}

impl Default for EtcdSite {
    fn default() -> Self {
        Self {
            prefix: etcd::fresh_prefix(),
            relay: OnceCell::new(),
            entered: Mutex::default(),
        }
    }
}

impl EtcdSite {
    async fn relay(&self) -> &Relay {
        let made = || async { Relay::to(&etcd::server()).await };
        self.relay.get_or_init(made).await
    }

    async fn registry(&self) -> EtcdRegistry {
        EtcdRegistry::open(&config(&self.relay().await.at, &self.prefix)).unwrap()
    }

    fn taken(&self, service: &str, endpoint: &str) -> Entered {
        let mut entered = self.entered.lock().unwrap();
        entered.remove(&format!("{service}{endpoint}")).unwrap()
    }
}

impl Drop for EtcdSite {
    fn drop(&mut self) {
        for (_, entered) in self.entered.lock().unwrap().drain() {
            entered.runtime.shutdown_background();
        }
    }
}

#[async_trait]
impl RegistrySite for EtcdSite {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(self.registry().await)
    }

    async fn begin(&self, service: &str, endpoint: &str) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let at = self.relay().await.at.clone();
        let config = config(&at, &self.prefix);
        let (name, place) = (service.to_owned(), endpoint.to_owned());
        let entering = runtime.spawn(async move {
            let registry = EtcdRegistry::open(&config).unwrap();
            let registration = registry.register(&[&name], &place);
            registration.say(Health::Serving).await.unwrap();
            registration
        });
        let registration = entering.await.unwrap();
        let entered = Entered {
            registration,
            runtime,
        };
        let key = format!("{service}{endpoint}");
        self.entered.lock().unwrap().insert(key, entered);
    }

    async fn end(&self, service: &str, endpoint: &str) {
        let entered = self.taken(service, endpoint);
        entered.registration.leave().await;
        entered.runtime.shutdown_background();
    }

    async fn crash(&self, service: &str, endpoint: &str) {
        let entered = self.taken(service, endpoint);
        entered.runtime.shutdown_background();
    }

    async fn be_away(&self) {
        let relay = self.relay().await;
        relay.cut(true);
        // Until no lease is left of those that stood before.
        let gone = async {
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            while etcd::count(&self.prefix).await > 0 {
                looks.tick().await;
            }
        };
        timeout(SOON, gone).await.expect("leases end");
        relay.cut(false);
    }
}

#[tokio::test]
async fn etcd_keeps_every_obligation() {
    let all = [Ability::Changes, Ability::Registers, Ability::IsAway];
    let site = || -> Box<dyn RegistrySite> { Box::<EtcdSite>::default() };
    let violations = violations(&registry_obligations(&all), site).await;
    assert!(violations.is_empty(), "{violations:?}");
}

async fn soon(endpoints: &mut watch::Receiver<Vec<String>>, wanted: &[&str]) {
    let met = timeout(SOON, endpoints.wait_for(|it| *it == *wanted)).await;
    let met = met.map(|it| it.map(drop));
    assert!(
        matches!(met, Ok(Ok(()))),
        "{wanted:?} were due, there are {:?}",
        *endpoints.borrow()
    );
}

#[tokio::test]
async fn a_follower_whose_history_is_gone_reads_all_again() {
    let site = EtcdSite::default();
    site.begin("one", "http://a:1").await;
    site.begin("one", "http://b:1").await;
    let follower = site.registry().await;
    let mut endpoints = follower.endpoints("one");
    soon(&mut endpoints, &["http://a:1", "http://b:1"]).await;
    site.relay().await.cut(true);
    let beside = EtcdRegistry::open(&config(&etcd::server(), &site.prefix)).unwrap();
    let registration = beside.register(&["one"], "http://c:1");
    registration.say(Health::Serving).await.unwrap();
    etcd::compact().await;
    site.relay().await.cut(false);
    soon(&mut endpoints, &["http://a:1", "http://b:1", "http://c:1"]).await;
    site.end("one", "http://a:1").await;
    soon(&mut endpoints, &["http://b:1", "http://c:1"]).await;
}

#[tokio::test]
async fn who_does_not_come_back_after_an_outage_is_gone_a_lease_later() {
    let site = EtcdSite::default();
    site.begin("one", "http://a:1").await;
    site.begin("one", "http://b:1").await;
    let follower = site.registry().await;
    let mut endpoints = follower.endpoints("one");
    soon(&mut endpoints, &["http://a:1", "http://b:1"]).await;
    site.crash("one", "http://a:1").await;
    site.be_away().await;
    soon(&mut endpoints, &["http://b:1"]).await;
}

#[tokio::test]
async fn a_process_answers_as_several_services_and_leaves_them_together() {
    let site = EtcdSite::default();
    let follower = site.registry().await;
    let (mut one, mut another) = (follower.endpoints("one"), follower.endpoints("another"));
    let registration = follower.register(&["one", "another"], "http://a:1");
    registration.say(Health::Serving).await.unwrap();
    soon(&mut one, &["http://a:1"]).await;
    soon(&mut another, &["http://a:1"]).await;
    registration.say(Health::Draining).await.unwrap();
    soon(&mut one, &[]).await;
    soon(&mut another, &[]).await;
    registration.leave().await;
    assert_eq!(etcd::count(&site.prefix).await, 0);
}

#[tokio::test]
async fn a_registry_that_is_away_keeps_nobody_from_draining_and_hears_of_it_later() {
    let site = EtcdSite::default();
    let follower = EtcdRegistry::open(&config(&etcd::server(), &site.prefix)).unwrap();
    let mut endpoints = follower.endpoints("one");
    let registry = site.registry().await;
    let registration = registry.register(&["one"], "http://a:1");
    registration.say(Health::Serving).await.unwrap();
    soon(&mut endpoints, &["http://a:1"]).await;
    site.relay().await.cut(true);
    assert_eq!(
        registration.say(Health::Draining).await,
        Err(Unrecorded(Health::Draining))
    );
    site.relay().await.cut(false);
    soon(&mut endpoints, &[]).await;
}

#[tokio::test]
async fn the_next_member_is_asked_when_one_does_not_answer() {
    let prefix = etcd::fresh_prefix();
    let nobody = Relay::to("127.0.0.1:1").await;
    let members = EtcdConfig {
        endpoints: vec![
            format!("http://{}", nobody.at),
            format!("http://{}", etcd::server()),
        ],
        ..config("", &prefix)
    };
    let registry = EtcdRegistry::open(&members).unwrap();
    let mut endpoints = registry.endpoints("one");
    let registration = registry.register(&["one"], "http://a:1");
    let said = registration.say(Health::Serving).await;
    soon(&mut endpoints, &["http://a:1"]).await;
    assert_eq!(said, Ok(()));
}
