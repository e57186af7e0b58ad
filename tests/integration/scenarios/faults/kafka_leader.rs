//! One of three nodes of Kafka is lost that leads partitions of the log.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use tokio::time::{Instant, interval};

use super::town::Town;
use crate::{
    arguments::Arguments,
    deployment::Deployment,
    infra::{Infra, Server},
    kafka,
    person::SOON,
    scene::{Needs, Scene},
};

/// Of one or two nodes none can be missed: `cargo xtask infra up --kafka-nodes 3`.
pub(crate) const THREE_NODES: &Needs = &Needs {
    kafka_nodes: 3,
    ..Needs::NONE
};
/// A node is missed after 3 s, what is under way to it is given up after 5 s, and a record's fate is told after 12 s at the latest.
const AGAIN_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// The leader of most partitions of the log is killed under load, and comes back: the others lead, and all goes on meanwhile.
pub(crate) async fn kafka_leader_killed(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    plays(scene, arguments, "kafka_leader_killed", Loss::Killed).await
}

/// The leader of most partitions of the log stands still under load, with its connections open, and goes on: likewise.
pub(crate) async fn kafka_leader_hangs(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    plays(scene, arguments, "kafka_leader_hangs", Loss::Hangs).await
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Killed,
    Hangs,
}

async fn plays(
    mut scene: Scene,
    arguments: &Arguments,
    name: &str,
    loss: Loss,
) -> anyhow::Result<()> {
    let infra = Infra::find()?;
    let mut town = Town::settles(&mut scene).await?;
    let before = Leaders::ask(&scene).await?;
    let (node, led) = before.first()?;
    let server = Server::KafkaNode(node);
    town.mark();
    match loss {
        Loss::Killed => infra.kill(server).await?,
        Loss::Hangs => infra.pause(server).await?,
    }
    Leaders::without(&scene, node).await?;
    town.goes_on().await?;
    let outage = town.outage();
    let bit = format!("node {node} led {led} partitions of the log, and then none");
    let fault = format!("a leader of three nodes: {loss:?}");
    arguments.adds(&outage.line(name, &fault, &bit))?;
    outage.demand(AGAIN_WITHIN)?;

    town.mark();
    infra.comes_back(server).await?;
    town.goes_on().await?;
    let outage = town.outage();
    arguments.adds(&outage.line(name, "its return", "it answers"))?;
    outage.demand(AGAIN_WITHIN)?;
    town.ends(scene, 0).await
}

/// Who leads how many partitions of the deployment's log.
struct Leaders(BTreeMap<u32, u32>);

impl Leaders {
    async fn ask(scene: &Scene) -> anyhow::Result<Self> {
        let servers = scene.server.servers()?;
        let topic = format!("{}.flare.im.message", servers.name);
        let mut led = BTreeMap::new();
        for (_, leader) in kafka::leaders(&servers.kafka, &topic).await? {
            *led.entry(leader).or_default() += 1;
        }
        Ok(Self(led))
    }

    /// Waits until the others lead all, and this one nothing.
    async fn without(scene: &Scene, node: u32) -> anyhow::Result<()> {
        let deadline = Instant::now() + SOON;
        let mut turns = interval(POLL);
        loop {
            turns.tick().await;
            let Self(led) = Self::ask(scene).await?;
            let is_whole = led.values().sum::<u32>() == Deployment::PARTITIONS;
            if is_whole && !led.contains_key(&node) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "node {node} is lost, and after {SOON:?} these lead: {led:?}"
            );
        }
    }

    /// The one that leads most, and how many.
    fn first(&self) -> anyhow::Result<(u32, u32)> {
        let first = self.0.iter().max_by_key(|it| it.1);
        let (node, led) = first.context("nobody leads")?;
        Ok((*node, *led))
    }
}
