//! Who owns the conversations is asked to go.

use std::time::Duration;

use flare_server_core::registry::service;

use super::{holdings::Holdings, town::Town};
use crate::{arguments::Arguments, scene::Scene};

/// It hands over within 2 s; the rest is for a debug build on a machine that everything shares.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// SIGTERM to each owner of busy conversations in turn: it ends cleanly, the other has its partitions at once, and so has it when it is back.
pub(crate) async fn owner_drained(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    let owners = scene.server.processes_of(service::ORCHESTRATOR);
    for owner in &owners {
        let held = Holdings::of(&scene, owner).await?;
        town.goes_on().await?;
        town.mark();
        scene.server.stop_of(owner).await?;
        town.goes_on().await?;
        let outage = town.outage();
        let bit = held.taken_by_others(&scene).await?;
        arguments.adds(&outage.line("owner_drained", &format!("SIGTERM {owner}"), &bit))?;
        outage.demand(AGAIN_WITHIN)?;
        town.mark();
        scene.brings_back(owner).await?;
        Holdings::of(&scene, owner).await?;
        town.goes_on().await?;
        let outage = town.outage();
        let bit = "partitions given back";
        arguments.adds(&outage.line("owner_drained", &format!("return of {owner}"), bit))?;
        outage.demand(AGAIN_WITHIN)?;
    }
    town.ends(scene, owners.len() as u64).await
}
