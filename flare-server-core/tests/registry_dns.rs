//! The registry by DNS keeps the contract of `Registry`, as far as names can.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use flare_server_core::{
    message_log::contract::violations,
    registry::{
        DnsRegistry, Registry, Resolve, SystemResolver,
        contract::{Ability, RegistrySite, registry_obligations},
    },
};
use tokio::sync::Notify;

const EVERY: Duration = Duration::from_millis(20);

/// Names with their addresses.
#[derive(Clone, Default)]
struct Zone(Arc<Records>);

#[derive(Default)]
struct Records {
    addresses: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    is_away: AtomicBool,
    asked: AtomicUsize,
    was_asked: Notify,
}

#[async_trait]
impl Resolve for Zone {
    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.was_asked.notify_one();
        let found = self.0.addresses.lock().unwrap().get(host).cloned();
        match found {
            Some(found) if !found.is_empty() && !self.0.is_away.load(Ordering::SeqCst) => Ok(found),
            _ => Err(io::Error::other("no such name")),
        }
    }
}

impl Zone {
    /// The hosts of the contract's endpoints as addresses: names stand for addresses only.
    fn address(endpoint: &str) -> SocketAddr {
        let digit = endpoint.trim_start_matches("http://").as_bytes()[0];
        SocketAddr::from(([127, 0, 0, digit], 1))
    }
}

/// A registry over a zone, whose endpoints bear the contract's names again.
struct Named(DnsRegistry);

impl Registry for Named {
    fn endpoints(&self, service: &str) -> tokio::sync::watch::Receiver<Vec<String>> {
        let mut inner = self.0.endpoints(service);
        let (told, endpoints) = tokio::sync::watch::channel(renamed(&inner.borrow_and_update()));
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = inner.changed() => if changed.is_err() { return },
                    () = told.closed() => return,
                }
                told.send_replace(renamed(&inner.borrow_and_update()));
            }
        });
        endpoints
    }
}

fn renamed(endpoints: &[String]) -> Vec<String> {
    let name = |endpoint: &String| {
        let address: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let SocketAddr::V4(address) = address else {
            panic!("{address}");
        };
        format!("http://{}:1", char::from(address.ip().octets()[3]))
    };
    endpoints.iter().map(name).collect()
}

#[async_trait]
impl RegistrySite for Zone {
    async fn open(&self) -> Arc<dyn Registry> {
        let names = ["one", "another"].map(|it| (it.to_owned(), format!("http://{it}.test:1")));
        Arc::new(Named(DnsRegistry::new(names.into(), EVERY, self.clone())))
    }

    async fn begin(&self, service: &str, endpoint: &str) {
        let mut addresses = self.0.addresses.lock().unwrap();
        let of_name = addresses.entry(format!("{service}.test:1")).or_default();
        of_name.push(Self::address(endpoint));
    }

    async fn end(&self, service: &str, endpoint: &str) {
        let mut addresses = self.0.addresses.lock().unwrap();
        let of_name = addresses.entry(format!("{service}.test:1")).or_default();
        of_name.retain(|it| *it != Self::address(endpoint));
    }

    async fn crash(&self, service: &str, endpoint: &str) {
        self.end(service, endpoint).await;
    }

    async fn be_away(&self) {
        self.0.is_away.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            self.0.was_asked.notified().await;
        }
        self.0.is_away.store(false, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn names_keep_what_names_can_keep() {
    let obligations = registry_obligations(&[Ability::Changes, Ability::IsAway]);
    let names: Vec<_> = obligations.iter().map(|it| it.name).collect();
    assert_eq!(
        names,
        [
            "known",
            "of_one_service",
            "told",
            "an_outage_takes_nothing_away"
        ]
    );
    let site = || -> Box<dyn RegistrySite> { Box::<Zone>::default() };
    let violations = violations(&obligations, site).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_only_while_somebody_watches_its_service() {
    let zone = Zone::default();
    zone.begin("one", "http://a:1").await;
    let names = [("one".to_owned(), "http://one.test:1".to_owned())];
    let registry = DnsRegistry::new(names.into(), EVERY, zone.clone());
    let mut endpoints = registry.endpoints("one");
    endpoints.wait_for(|it| !it.is_empty()).await.unwrap();
    drop(endpoints);
    let asked = || zone.0.asked.load(Ordering::SeqCst);
    let before = asked();
    let later = tokio::time::timeout(EVERY * 100, std::future::pending::<()>()).await;
    assert!(later.is_err());
    assert!(asked() <= before + 1, "{} times more", asked() - before);
    let again = registry.endpoints("one");
    assert_eq!(again.borrow().len(), 1, "what was known");
    zone.0.was_asked.notified().await;
    let more = asked();
    tokio::time::timeout(EVERY * 3, std::future::pending::<()>())
        .await
        .unwrap_err();
    assert!(asked() > more, "it is asked again");
}

#[tokio::test]
async fn the_machines_own_resolver_is_asked() {
    let names = [("one".to_owned(), "http://localhost:50055".to_owned())];
    let registry = DnsRegistry::new(names.into(), EVERY, SystemResolver);
    let mut endpoints = registry.endpoints("one");
    let found = endpoints.wait_for(|it| !it.is_empty());
    let found = tokio::time::timeout(Duration::from_secs(10), found).await;
    let found = found.expect("localhost resolves").unwrap().clone();
    let is_local = |it: &String| it == "http://127.0.0.1:50055" || it == "http://[::1]:50055";
    assert!(found.iter().all(is_local), "{found:?}");
}
