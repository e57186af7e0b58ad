//! Everything is replaced, as for a new version.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::town::Town;
use crate::{arguments::Arguments, scene::Scene};

/// A stop drains, and the others know it: a pause, and no outage.
const AGAIN_WITHIN: Duration = Duration::from_secs(5);

/// A clean stop and a start of one process after the other, of all there are: nobody notices more than a pause.
pub(crate) async fn rolling_restart(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    let processes = scene.server.processes();
    for process in &processes {
        let before = scene.server.id_of(process)?;
        town.mark();
        scene
            .server
            .stop_of(process)
            .await
            .with_context(|| format!("the drain of {process}"))?;
        town.goes_on().await?;
        scene.brings_back(process).await?;
        town.goes_on().await?;
        let now = scene.server.id_of(process)?;
        ensure!(before != now, "{process} is the same as before");
        let bit = format!("process {before} replaced by {now}");
        let fault = format!("restart of {process}");
        let outage = town.outage();
        arguments.adds(&outage.line("rolling_restart", &fault, &bit))?;
        outage.demand(AGAIN_WITHIN)?;
    }
    town.takes_in(&scene).await?;
    town.ends(scene, processes.len() as u64).await
}
