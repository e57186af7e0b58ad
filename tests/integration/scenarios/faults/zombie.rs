//! Who owns the conversations stands still until others own them, and wakes up believing that it does.

use std::time::Duration;

use flare_server_core::registry::service;

use super::{holdings::Holdings, stillness::Stillness, town::Town};
use crate::{arguments::Arguments, scene::Scene};

/// As for one that was killed: nobody can tell the two.
const AGAIN_WITHIN: Duration = Duration::from_secs(15);

/// SIGSTOP of each owner past every lease, then SIGCONT: the other has its partitions, what the zombie had under way is kept once or not at all, and it owns again what it is given.
pub(crate) async fn zombie_owner(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    for owner in scene.server.processes_of(service::ORCHESTRATOR) {
        let held = Holdings::of(&scene, &owner).await?;
        town.goes_on().await?;
        town.mark();
        let stands = Stillness::begins(&scene, &owner).await?;
        town.goes_on().await?;
        let outage = town.outage();
        let taken = held.taken_by_others(&scene).await?;
        stands.outlasts_leases().await?;
        let stood = stands.ends().await?;
        let bit = format!("{taken} while it stood for {:.1} s", stood.as_secs_f64());
        arguments.adds(&outage.line("zombie_owner", &format!("SIGSTOP {owner}"), &bit))?;
        outage.demand(AGAIN_WITHIN)?;

        town.mark();
        Holdings::of(&scene, &owner).await?;
        town.goes_on().await?;
        let outage = town.outage();
        let bit = "it owns partitions again";
        arguments.adds(&outage.line("zombie_owner", &format!("SIGCONT {owner}"), bit))?;
    }
    town.ends(scene, 0).await
}
