//! Writers in every partition and a quiet pair, while something happens to a server that the cluster stands on.

use std::{future::Future, time::Duration};

use anyhow::ensure;

use super::{
    super::pair::{Pair, Times},
    town::Town,
};
use crate::{arguments::Arguments, scene::Scene};

/// They, and what is said of each fault.
pub(super) struct Stand {
    scenario: &'static str,
    pub(super) town: Town,
    pair: Pair,
}

/// What was to be seen of a fault.
pub(super) struct Seen {
    /// From a word's leaving until it was heard: none was heard as long as the fault lasted.
    pub(super) unheard: Duration,
    /// What else showed that it was there.
    pub(super) bit: String,
}

impl Stand {
    /// All come online and begin to write.
    pub(super) async fn takes(scenario: &'static str, scene: &mut Scene) -> anyhow::Result<Self> {
        let town = Town::settles(scene).await?;
        let pair = Pair::arrive(scene, "pair").await?;
        Ok(Self {
            scenario,
            town,
            pair,
        })
    }

    /// A fault from its beginning to its end, and until all goes on; demands that it was there, and writes down how long sends were slow.
    pub(super) async fn bears(
        &mut self,
        fault: &str,
        arguments: &Arguments,
        what: impl Future<Output = anyhow::Result<Seen>>,
    ) -> anyhow::Result<()> {
        let Self { town, pair, .. } = self;
        town.mark();
        let (times, seen) = pair
            .during(async {
                let seen = what.await?;
                town.goes_on().await?;
                anyhow::Ok(seen)
            })
            .await?;
        self.says(fault, arguments, &times, &seen)
    }

    fn says(
        &self,
        fault: &str,
        arguments: &Arguments,
        times: &Times,
        seen: &Seen,
    ) -> anyhow::Result<()> {
        let bit = format!("{}; {}", seen.bit, times.in_words());
        // The word may have left when the fault had lasted for a while.
        ensure!(
            times.slowest_delivery() >= seen.unheard * 3 / 4,
            "{fault}: nobody missed it for {:?}: {bit}",
            seen.unheard
        );
        let outage = self.town.outage();
        arguments.adds(&outage.line(self.scenario, fault, &bit))
    }

    /// The judge's word on all that was, with so many starts of processes.
    pub(super) async fn ends(self, scene: Scene, restarts: u64) -> anyhow::Result<()> {
        let Self { mut town, pair, .. } = self;
        for person in pair.people() {
            town.joins(person);
        }
        town.ends(scene, restarts).await
    }
}
