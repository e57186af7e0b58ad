//! The obligations of a [`Registry`] as tests, for every adapter to run.
//!
//! An adapter gives a [`RegistrySite`] for each test: see `tests/registry_contract.rs`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::watch, time::timeout};

use super::{Health, Registry};
use crate::{
    message_log::contract::{Obligation, Verdict, Violation, ensure, fail},
    obligations,
};

/// What a registry can do beside naming endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Its entries come and go.
    Changes,
    /// Processes enter themselves.
    Registers,
    /// It stands outside of this process, and may be away.
    IsAway,
}

/// Where a registry lives. Each test gets its own, empty.
#[async_trait]
pub trait RegistrySite: Send + Sync {
    /// The registry as one more process sees it.
    async fn open(&self) -> Arc<dyn Registry>;

    /// Has a process answer as `service` at `endpoint`, and be found.
    async fn begin(&self, service: &str, endpoint: &str);

    /// Ends that process, in good order.
    async fn end(&self, service: &str, endpoint: &str);

    /// Ends that process without a word.
    async fn crash(&self, service: &str, endpoint: &str);

    /// Has the registry not answer to anybody for longer than any lease lasts, and come back without what stood on one.
    async fn be_away(&self);
}

type Site = Box<dyn RegistrySite>;

/// What is late after this is missing.
const SOON: Duration = Duration::from_secs(15);
/// In this nothing may change that has to stay.
const A_WHILE: Duration = Duration::from_secs(3);

/// The obligations of a [`Registry`] with these abilities.
pub fn registry_obligations(abilities: &[Ability]) -> Vec<Obligation<dyn RegistrySite>> {
    let mut all = obligations![known, of_one_service];
    if abilities.contains(&Ability::Changes) {
        all.extend(obligations![told]);
    }
    if abilities.contains(&Ability::Registers) {
        all.extend(obligations![
            only_who_serves,
            gone_when_left,
            crashed_ones_go
        ]);
    }
    if abilities.contains(&Ability::IsAway) {
        all.extend(obligations![an_outage_takes_nothing_away]);
    }
    all
}

async fn known(site: Site) -> Verdict {
    site.begin("one", "http://a:1").await;
    let registry = site.open().await;
    soon(&mut registry.endpoints("one"), &["http://a:1"]).await?;
    let again = registry.endpoints("one").borrow().clone();
    ensure(again == ["http://a:1"], || {
        format!("a later receiver begins with {again:?}")
    })
}

async fn of_one_service(site: Site) -> Verdict {
    site.begin("one", "http://a:1").await;
    site.begin("another", "http://b:1").await;
    let registry = site.open().await;
    soon(&mut registry.endpoints("another"), &["http://b:1"]).await?;
    soon(&mut registry.endpoints("one"), &["http://a:1"]).await?;
    soon(&mut registry.endpoints("none"), &[]).await
}

async fn told(site: Site) -> Verdict {
    let registry = site.open().await;
    let mut endpoints = registry.endpoints("one");
    site.begin("one", "http://a:1").await;
    soon(&mut endpoints, &["http://a:1"]).await?;
    site.begin("one", "http://b:1").await;
    soon(&mut endpoints, &["http://a:1", "http://b:1"]).await?;
    site.end("one", "http://a:1").await;
    soon(&mut endpoints, &["http://b:1"]).await
}

async fn only_who_serves(site: Site) -> Verdict {
    let registry = site.open().await;
    let mut endpoints = registry.endpoints("one");
    let registration = site.open().await.register(&["one"], "http://a:1");
    registration
        .say(Health::Registering)
        .await
        .map_err(violated)?;
    // What comes later is seen, so what came before would be.
    site.begin("one", "http://b:1").await;
    soon(&mut endpoints, &["http://b:1"]).await?;
    registration.say(Health::Serving).await.map_err(violated)?;
    soon(&mut endpoints, &["http://a:1", "http://b:1"]).await?;
    registration.say(Health::Draining).await.map_err(violated)?;
    soon(&mut endpoints, &["http://b:1"]).await
}

async fn gone_when_left(site: Site) -> Verdict {
    let registry = site.open().await;
    let mut endpoints = registry.endpoints("one");
    for by_dropping in [false, true] {
        let registration = site.open().await.register(&["one"], "http://a:1");
        registration.say(Health::Serving).await.map_err(violated)?;
        soon(&mut endpoints, &["http://a:1"]).await?;
        if by_dropping {
            drop(registration);
        } else {
            registration.leave().await;
        }
        soon(&mut endpoints, &[]).await?;
    }
    Ok(())
}

async fn crashed_ones_go(site: Site) -> Verdict {
    site.begin("one", "http://a:1").await;
    site.begin("one", "http://b:1").await;
    let registry = site.open().await;
    let mut endpoints = registry.endpoints("one");
    soon(&mut endpoints, &["http://a:1", "http://b:1"]).await?;
    site.crash("one", "http://a:1").await;
    soon(&mut endpoints, &["http://b:1"]).await
}

async fn an_outage_takes_nothing_away(site: Site) -> Verdict {
    let both = ["http://a:1", "http://b:1"];
    for endpoint in both {
        site.begin("one", endpoint).await;
    }
    let registry = site.open().await;
    let mut endpoints = registry.endpoints("one");
    soon(&mut endpoints, &both).await?;
    tokio::select! {
        verdict = stays(&mut endpoints, &both, Duration::MAX) => return verdict,
        () = site.be_away() => {}
    }
    stays(&mut endpoints, &both, A_WHILE).await?;
    site.begin("one", "http://c:1").await;
    soon(&mut endpoints, &["http://a:1", "http://b:1", "http://c:1"]).await
}

fn violated(error: impl std::fmt::Display) -> Violation {
    Violation(error.to_string())
}

/// Waits until the endpoints are these.
async fn soon(endpoints: &mut watch::Receiver<Vec<String>>, wanted: &[&str]) -> Verdict {
    let met = endpoints.wait_for(|it| *it == *wanted);
    match timeout(SOON, met).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(_)) => return fail("nobody tells of endpoints any more"),
        Err(_) => {}
    }
    fail(format!(
        "{wanted:?} were due, there are {:?}",
        *endpoints.borrow()
    ))
}

/// The endpoints are these, and stay so for as long.
async fn stays(
    endpoints: &mut watch::Receiver<Vec<String>>,
    wanted: &[&str],
    lasts: Duration,
) -> Verdict {
    let differs = endpoints.wait_for(|it| *it != *wanted);
    match timeout(lasts, differs).await {
        Ok(Ok(now)) => fail(format!("{wanted:?} had to stay, there are {:?}", *now)),
        Ok(Err(_)) => fail("nobody tells of endpoints any more"),
        Err(_) => Ok(()),
    }
}
