//! `PresenceStore`.

#[path = "presence_contract.rs"]
mod contract;

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

use contract::{OBLIGATIONS, PresenceSite};

/// A way to break one obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    HidesTheDisplaced,
    DisplacesByWhoeverComesAgain,
    DeletesWhateverStands,
    ForgetsNoLease,
    NamesLeasesAlike,
    MixesTenants,
    HidesAGateway,
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

    async fn gateways(&self) -> Result<Vec<Gateway>, PortError> {
        let mut all = self.inner.gateways().await?;
        if self.flaw == Some(Flaw::HidesAGateway) {
            all.pop();
        }
        Ok(all)
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
            Some(Flaw::MixesTenants) => {
                let mut gone = self.inner.expire().await?;
                gone.iter_mut()
                    .for_each(|it| "t".clone_into(&mut it.tenant));
                Ok(gone)
            }
            _ => self.inner.expire().await,
        }
    }

    async fn next_expiry(&self) -> Result<Option<Duration>, PortError> {
        self.inner.next_expiry().await
    }
}

/// A store in memory, with a flaw or none.
struct MemorySite(Option<Flaw>);

#[async_trait]
impl PresenceSite for MemorySite {
    async fn open(&self) -> Arc<dyn PresenceStore> {
        Arc::new(Flawed {
            inner: MemoryPresenceStore::new(Arc::new(IdSource::from_os())),
            flaw: self.0,
            registered: Mutex::default(),
        })
    }

    async fn open_after_loss(&self) -> Arc<dyn PresenceStore> {
        self.open().await
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1_000)
    }

    async fn pass(&self, by: Duration) {
        tokio::time::advance(by).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_keeps_every_obligation() {
    for (name, check) in OBLIGATIONS {
        assert_eq!(check(Arc::new(MemorySite(None))).await, Ok(()), "{name}");
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
        Flaw::HidesAGateway,
    ];
    for (flaw, (name, _)) in flaws.into_iter().zip(OBLIGATIONS) {
        let mut violated = Vec::new();
        for (obligation, check) in OBLIGATIONS {
            if check(Arc::new(MemorySite(Some(flaw)))).await.is_err() {
                violated.push(obligation);
            }
        }
        assert_eq!(violated, [name], "{flaw:?}");
    }
}
