//! Two owners that both believe.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_server_core::registry::service;
use tokio::time::{Instant, interval};

use super::{holdings::Holdings, town::Town};
use crate::{arguments::Arguments, scene::Scene};

const ROUNDS: u32 = 3;
const TAKEOVERS: &[&str] = &["flare_orchestrator_takeovers_total"];
/// The log's group misses a member after 10 s.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Each owner in turn is stopped, and wakes up at the very moment at which the other takes its partitions over, which is stopped in its turn: both believe that they own the same partitions,
/// again and again, and nothing is decided twice.
pub(crate) async fn contended_owners(
    mut scene: Scene,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut town = Town::settles(&mut scene).await?;
    let owners = scene.server.processes_of(service::ORCHESTRATOR);
    let [one, other] = owners.as_slice() else {
        anyhow::bail!("{owners:?} are no two owners");
    };
    let epochs = sum_of_epochs(&scene).await?;
    town.goes_on().await?;
    town.mark();
    let mut taken = 0.0;
    for round in 0..ROUNDS {
        let (old, new) = if round % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        Holdings::of(&scene, old).await?;
        let before = scene.server.metric_at(new, TAKEOVERS).await?;
        scene.server.signal_to(old, "STOP").await?;
        taken += takes_over(&scene, new, before)
            .await
            .with_context(|| format!("round {round}"))?;
        // In the midst of its takeovers; the old one knows of none, and has the log to itself until it is awake.
        scene.server.signal_to(new, "STOP").await?;
        scene.server.signal_to(old, "CONT").await?;
        scene.server.metric_at(old, TAKEOVERS).await?;
        scene.server.signal_to(new, "CONT").await?;
        town.goes_on().await?;
    }
    let outage = town.outage();
    let risen = sum_of_epochs(&scene).await? - epochs;
    ensure!(
        taken >= f64::from(ROUNDS) && risen >= u64::from(ROUNDS),
        "{taken} takeovers, and epochs rose by {risen}"
    );
    let bit = format!("{ROUNDS} times at a takeover; epochs rose by {risen}");
    arguments.adds(&outage.line("contended_owners", "two owners at once", &bit))?;
    town.ends(scene, 0).await
}

/// Waits until a process has begun an epoch; how many it has begun.
async fn takes_over(scene: &Scene, process: &str, before: f64) -> anyhow::Result<f64> {
    let deadline = Instant::now() + TAKEN_WITHIN;
    let mut turns = interval(POLL);
    loop {
        turns.tick().await;
        let now = scene.server.metric_at(process, TAKEOVERS).await?;
        if now > before {
            return Ok(now - before);
        }
        ensure!(
            Instant::now() < deadline,
            "{process} takes nothing over within {TAKEN_WITHIN:?}"
        );
    }
}

async fn sum_of_epochs(scene: &Scene) -> anyhow::Result<u64> {
    let owners = scene
        .server
        .owners_when("an owner of each", |_| true)
        .await?;
    Ok(owners.values().map(|it| it.epoch).sum())
}
