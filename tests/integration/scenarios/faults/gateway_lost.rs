//! The gateway dies that very many are connected to.

use std::time::Duration;

use anyhow::ensure;
use flare_server_core::registry::service;

use super::{
    super::crowd::{Crowd, affordable},
    town::Town,
};
use crate::{arguments::Arguments, cable::Cable, scene::Scene};

/// As many at least.
const CONNECTIONS: usize = 500;
const OPEN: &[&str] = &["flare_access_gateway_connections"];
/// Who writes was connected to that gateway, too, and waits in a queue with all others.
const AGAIN_WITHIN: Duration = Duration::from_secs(20);

/// kill -9 of a gateway with 500 connections: all are in step at the other one, those who write among them, and the gateway that comes back is used again.
pub(crate) async fn gateway_lost(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let size = affordable(arguments.clients.max(CONNECTIONS))?;
    ensure!(size >= CONNECTIONS, "{size} clients are too few");
    let mut town = Town::settles(&mut scene).await?;
    let gateways = scene.server.processes_of(service::ACCESS_GATEWAY);
    let [lost, other] = gateways.as_slice() else {
        anyhow::bail!("{gateways:?} are no two gateways");
    };
    let cable = Cable::lay_in_order(&scene.server.urls()).await?;
    let crowd = Crowd::gather(&scene, &cable, size).await?;
    let there = scene.server.metric_at(lost, OPEN).await?;
    let before = scene.server.metric_at(other, OPEN).await?;
    ensure!(
        there >= size as f64,
        "{there} connections are at {lost}, of {size}"
    );

    town.mark();
    scene.server.kill9_of(lost).await?;
    let back = crowd.comes_back(1).await?;
    town.goes_on().await?;
    let outage = town.outage();
    let now = scene.server.metric_at(other, OPEN).await?;
    ensure!(
        now >= before + there,
        "{there} were at {lost}, and {other} had {before} and has {now}"
    );
    let bit = format!(
        "{there} connections lost; back p50 {:.1} s, p99 {:.1} s, last {:.1} s",
        back.p50_s, back.p99_s, back.last_s
    );
    let fault = format!("kill -9 {lost}");
    arguments.adds(&outage.line("gateway_lost", &fault, &bit))?;
    outage.demand(AGAIN_WITHIN)?;
    scene.brings_back(lost).await?;
    town.takes_in(&scene).await?;
    town.goes_on().await?;
    crowd.leaves().await;
    town.ends(scene, 1).await
}
