//! Who owns the conversations dies.

use std::time::Duration;

use flare_server_core::registry::service;

use super::{holdings::Holdings, town::Town};
use crate::{arguments::Arguments, scene::Scene};

/// The log's group misses its member after 10 s; the rest is for the takeover.
const AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// kill -9 of each owner of busy conversations in turn: the other has them all in time, by later epochs; and shares them with the one that comes back.
pub(crate) async fn owner_killed(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    let owners = scene.server.processes_of(service::ORCHESTRATOR);
    for owner in &owners {
        let held = Holdings::of(&scene, owner).await?;
        town.goes_on().await?;
        town.mark();
        scene.server.kill9_of(owner).await?;
        town.goes_on().await?;
        let outage = town.outage();
        let bit = held.taken_by_others(&scene).await?;
        arguments.adds(&outage.line("owner_killed", &format!("kill -9 {owner}"), &bit))?;
        outage.demand(AGAIN_WITHIN)?;
        scene.brings_back(owner).await?;
        town.goes_on().await?;
    }
    town.ends(scene, owners.len() as u64).await
}
