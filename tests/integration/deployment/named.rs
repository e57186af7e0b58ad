//! One process of a deployment, by its name: `flare-message-orchestrator-1` is the first of its service in a cluster.

use anyhow::Context;

use super::{Deployment, Slot};
use crate::process::{self, Addresses, Process};

impl Deployment {
    /// The names of all processes, in the order in which they began.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.slots.iter().map(|it| it.plan.name.clone()).collect()
    }

    /// Those of a service.
    pub(crate) fn processes_of(&self, service: &str) -> Vec<String> {
        let own = self
            .slots
            .iter()
            .filter(|it| it.plan.service == Some(service));
        own.map(|it| it.plan.name.clone()).collect()
    }

    /// The other process of the same service.
    pub(crate) fn partner_of(&self, name: &str) -> anyhow::Result<String> {
        let service = self.service_of(name)?;
        let partner = self.processes_of(service).into_iter().find(|it| it != name);
        partner.with_context(|| format!("{name} is alone"))
    }

    /// The service that a process is of.
    pub(crate) fn service_of(&self, name: &str) -> anyhow::Result<&'static str> {
        let service = self.named(name)?.plan.service;
        service.with_context(|| format!("{name} has more services than one"))
    }

    /// Where a process answers, or did.
    pub(crate) fn addresses_of(&self, name: &str) -> anyhow::Result<Addresses> {
        Ok(self.named(name)?.addresses)
    }

    /// The number of a process that runs.
    pub(crate) fn id_of(&self, name: &str) -> anyhow::Result<u32> {
        let running = self.named(name)?.running.as_ref();
        running
            .with_context(|| format!("{name} does not run"))?
            .id()
    }

    /// A metric of one process, summed over all series whose name and labels contain every one of `words`; 0 if there is none.
    pub(crate) async fn metric_at(&self, name: &str, words: &[&str]) -> anyhow::Result<f64> {
        self.named(name)?.metric(words).await
    }

    /// Sends a process a signal that it outlives, such as STOP or CONT.
    pub(crate) async fn signal_to(&self, name: &str, signal: &str) -> anyhow::Result<()> {
        process::signal(self.id_of(name)?, signal).await
    }

    /// Kills a process with signal 9.
    pub(crate) async fn kill9_of(&mut self, name: &str) -> anyhow::Result<()> {
        self.take_named(name)?.kill9().await
    }

    /// Stops a process, and demands that it ends cleanly.
    pub(crate) async fn stop_of(&mut self, name: &str) -> anyhow::Result<()> {
        self.take_named(name)?.stop().await
    }

    /// Starts a process again that was killed or stopped, at the addresses that it had.
    pub(crate) async fn start_again_of(&mut self, name: &str) -> anyhow::Result<()> {
        self.named(name)?;
        self.start_those(|it| it.name == name).await
    }

    /// Where clients connect: at each process that they reach.
    pub(crate) fn urls(&self) -> Vec<String> {
        let reached = self
            .slots
            .iter()
            .filter_map(|it| it.addresses.access_gateway);
        reached.map(|it| self.url_at(it)).collect()
    }

    /// Where backends connect, likewise.
    pub(crate) fn apis(&self) -> Vec<String> {
        let reached = self.slots.iter().filter_map(|it| it.addresses.core_gateway);
        reached.map(|it| self.api_at(it)).collect()
    }

    fn take_named(&mut self, name: &str) -> anyhow::Result<Process> {
        let slot = self.slots.iter_mut().find(|it| it.plan.name == name);
        let running = slot.and_then(|it| it.running.take());
        running.with_context(|| format!("{name} does not run"))
    }

    fn named(&self, name: &str) -> anyhow::Result<&Slot> {
        let slot = self.slots.iter().find(|it| it.plan.name == name);
        slot.with_context(|| format!("{name} is none of {:?}", self.processes()))
    }
}
