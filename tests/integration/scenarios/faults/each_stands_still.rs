//! A process of each service stands still for longer than its leases.

use anyhow::Context;
use flare_server_core::registry::service;

use super::{evidence::Evidence, stillness::Stillness, town::Town};
use crate::{arguments::Arguments, scene::Scene};

/// SIGSTOP of one process of each service in turn until every lease is over, then SIGCONT: what it does then breaks no promise, and it works on.
pub(crate) async fn each_stands_still(
    mut scene: Scene,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    for service in service::ALL {
        let all = scene.server.processes_of(service.name);
        let process = all.first().context("a service without a process")?;
        let before = Evidence::before(&scene, process).await?;
        town.mark();
        let stands = Stillness::begins(&scene, process).await?;
        stands.outlasts_leases().await?;
        let bit = before.of_more_work_if_missed(&scene).await?;
        let stood = stands.ends().await?;
        town.goes_on().await?;
        town.takes_in(&scene).await?;
        let bit = format!("{bit} while it stood for {:.1} s", stood.as_secs_f64());
        let fault = format!("SIGSTOP and SIGCONT {process}");
        arguments.adds(&town.outage().line("each_stands_still", &fault, &bit))?;
    }
    town.ends(scene, 0).await
}
