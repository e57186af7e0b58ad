//! The registries that need no server keep the contract of `Registry`, as far as they can; registries that break one obligation fail the
//! test of that one.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use flare_server_core::{
    message_log::contract::violations,
    registry::{
        Health, Registration, Registry, StaticRegistry,
        contract::{Ability, RegistrySite, registry_obligations},
    },
};
use tokio::sync::watch;

/// Endpoints that the configuration names.
#[derive(Default)]
struct StaticSite {
    services: Mutex<BTreeMap<String, Vec<String>>>,
}

#[async_trait]
impl RegistrySite for StaticSite {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(StaticRegistry::new(self.services.lock().unwrap().clone()))
    }

    async fn begin(&self, service: &str, endpoint: &str) {
        let mut services = self.services.lock().unwrap();
        let endpoints = services.entry(service.to_owned()).or_default();
        endpoints.push(endpoint.to_owned());
    }

    async fn end(&self, _: &str, _: &str) {}

    async fn crash(&self, _: &str, _: &str) {}

    async fn be_away(&self) {}
}

/// One way to break one obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    BeginsWithNothing,
    MixesServices,
    KeepsWhoEnds,
    ShowsWhoDoesNotServe,
    KeepsWhoLeaves,
    KeepsTheCrashed,
    IsEmptyWhenItIsAway,
}

type Book = BTreeMap<(String, String), Health>;

/// A registry in this process's memory, with a flaw or none.
struct Town {
    flaw: Option<Flaw>,
    book: Mutex<Book>,
    watched: Mutex<HashMap<String, watch::Sender<Vec<String>>>>,
}

impl Town {
    fn new(flaw: Option<Flaw>) -> Arc<Self> {
        Arc::new(Self {
            flaw,
            book: Mutex::default(),
            watched: Mutex::default(),
        })
    }

    fn found(&self, book: &Book, service: &str) -> Vec<String> {
        let mixes = self.flaw == Some(Flaw::MixesServices) && service != "none";
        book.iter()
            .filter(|((name, _), _)| name == service || mixes)
            .filter(|(_, health)| match self.flaw {
                Some(Flaw::ShowsWhoDoesNotServe) => **health != Health::Draining,
                _ => **health == Health::Serving,
            })
            .map(|((_, endpoint), _)| endpoint.clone())
            .collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn tell(&self) {
        let book = self.book();
        self.tell_of(&book);
    }

    fn tell_of(&self, book: &Book) {
        for (service, endpoints) in &*self.watched.lock().unwrap() {
            let found = self.found(book, service);
            endpoints.send_replace(found);
        }
    }

    fn write(&self, service: &str, endpoint: &str, health: Option<Health>) {
        let key = (service.to_owned(), endpoint.to_owned());
        match health {
            Some(health) => self.book().insert(key, health),
            None => self.book().remove(&key),
        };
        self.tell();
    }
}

struct Inhabitant(Arc<Town>);

impl Registry for Inhabitant {
    fn endpoints(&self, service: &str) -> watch::Receiver<Vec<String>> {
        let found = self.0.found(&self.0.book(), service);
        let mut watched = self.0.watched.lock().unwrap();
        match watched.get(service) {
            Some(known) if self.0.flaw == Some(Flaw::BeginsWithNothing) => {
                let empty = watch::Sender::new(Vec::new());
                drop(known.subscribe());
                empty.subscribe()
            }
            Some(known) => known.subscribe(),
            None => watched
                .entry(service.to_owned())
                .or_insert_with(|| watch::Sender::new(found))
                .subscribe(),
        }
    }

    fn register(&self, services: &[&str], endpoint: &str) -> Registration {
        let (registration, mut registrant) = Registration::pair();
        let town = Arc::clone(&self.0);
        let services: Vec<String> = services.iter().map(|it| (*it).to_owned()).collect();
        let endpoint = endpoint.to_owned();
        tokio::spawn(async move {
            loop {
                let health = *registrant.health.borrow_and_update();
                for service in &services {
                    town.write(service, &endpoint, Some(health));
                }
                registrant.record(health);
                if registrant.health.changed().await.is_err() {
                    break;
                }
            }
            if town.flaw != Some(Flaw::KeepsWhoLeaves) {
                for service in &services {
                    town.write(service, &endpoint, None);
                }
            }
        });
        registration
    }
}

struct TownSite(Arc<Town>);

#[async_trait]
impl RegistrySite for TownSite {
    async fn open(&self) -> Arc<dyn Registry> {
        Arc::new(Inhabitant(Arc::clone(&self.0)))
    }

    async fn begin(&self, service: &str, endpoint: &str) {
        self.0.write(service, endpoint, Some(Health::Serving));
    }

    async fn end(&self, service: &str, endpoint: &str) {
        if self.0.flaw != Some(Flaw::KeepsWhoEnds) {
            self.0.write(service, endpoint, None);
        }
    }

    async fn crash(&self, service: &str, endpoint: &str) {
        if self.0.flaw != Some(Flaw::KeepsTheCrashed) {
            self.0.write(service, endpoint, None);
        }
    }

    async fn be_away(&self) {
        if self.0.flaw == Some(Flaw::IsEmptyWhenItIsAway) {
            self.0.tell_of(&Book::new());
        }
        tokio::task::yield_now().await;
    }
}

const ALL: [Ability; 3] = [Ability::Changes, Ability::Registers, Ability::IsAway];

async fn violated(flaw: Option<Flaw>) -> Vec<&'static str> {
    let site = || -> Box<dyn RegistrySite> { Box::new(TownSite(Town::new(flaw))) };
    let violations = violations(&registry_obligations(&ALL), site).await;
    violations.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn the_static_registry_keeps_what_can_be_kept_of_a_configuration() {
    let obligations = registry_obligations(&[]);
    let names: Vec<_> = obligations.iter().map(|it| it.name).collect();
    assert_eq!(names, ["known", "of_one_service"]);
    let site = || -> Box<dyn RegistrySite> { Box::<StaticSite>::default() };
    let violations = violations(&obligations, site).await;
    assert!(violations.is_empty(), "{violations:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_breaks_one_obligation_fails_that_test_only() {
    assert_eq!(violated(None).await, [""; 0]);
    let flaws = [
        (Flaw::BeginsWithNothing, "known"),
        (Flaw::MixesServices, "of_one_service"),
        (Flaw::KeepsWhoEnds, "told"),
        (Flaw::ShowsWhoDoesNotServe, "only_who_serves"),
        (Flaw::KeepsWhoLeaves, "gone_when_left"),
        (Flaw::KeepsTheCrashed, "crashed_ones_go"),
        (Flaw::IsEmptyWhenItIsAway, "an_outage_takes_nothing_away"),
    ];
    let names: Vec<_> = registry_obligations(&ALL)
        .iter()
        .map(|obligation| obligation.name)
        .collect();
    assert_eq!(
        names,
        flaws.map(|(_, name)| name),
        "each obligation has a registry that breaks it"
    );
    for (flaw, obligation) in flaws {
        assert_eq!(violated(Some(flaw)).await, [obligation], "{flaw:?}");
    }
}
