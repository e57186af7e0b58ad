//! A process of each service dies.

use anyhow::{Context, ensure};
use flare_server_core::registry::service;
use tokio::net::TcpStream;

use super::{evidence::Evidence, town::Town};
use crate::{arguments::Arguments, scene::Scene};

/// kill -9 of one process of each service in turn, and its return: the other one does the work of both meanwhile, also for those who come then.
pub(crate) async fn each_killed(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    let mut restarts = 0;
    for service in service::ALL {
        let all = scene.server.processes_of(service.name);
        let process = all.first().context("a service without a process")?;
        let before = Evidence::before(&scene, process).await?;
        town.mark();
        scene.server.kill9_of(process).await?;
        town.takes_in(&scene).await?;
        town.goes_on().await?;
        let bit = before.of_more_work(&scene).await?;
        let ops = scene.server.addresses_of(process)?.ops;
        let answers = TcpStream::connect(ops.context("no ops listener")?).await;
        ensure!(
            answers.is_err(),
            "{process} was killed, and somebody answers"
        );
        scene.brings_back(process).await?;
        restarts += 1;
        town.takes_in(&scene).await?;
        town.goes_on().await?;
        let fault = format!("kill -9 {process}");
        arguments.adds(&town.outage().line("each_killed", &fault, &bit))?;
    }
    town.ends(scene, restarts).await
}
