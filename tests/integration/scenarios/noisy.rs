//! One conversation that is flooded, beside quiet ones.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::message::HistoryVisibility;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{
    load::Load,
    pair::{Figures, Pair},
};
use crate::{
    arguments::Arguments,
    judge::Minimums,
    scene::{Needs, Scene},
};

/// Those who flood it.
const NOISY: usize = 4;
/// As many as a connection may have without a receipt.
const WINDOW: usize = 64;
/// What they keep to, or are refused.
pub(super) const LIMITED: &Needs = &Needs {
    settings: &[
        "access_gateway.frames_per_s=100",
        "access_gateway.frame_burst=200",
    ],
    ..Needs::NONE
};
const LASTS: Duration = Duration::from_secs(4);
/// Of a debug build on two cores that have the noise, too.
const P99: Duration = Duration::from_secs(1);
const REFUSALS: [&str; 2] = ["refusals_total", "RATE_LIMITED"];

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    calm: Figures,
    quiet: Vec<Figures>,
    noisy_per_s: f64,
    refused: f64,
}

/// The noisy conversation is kept to its writers' limit, and those who talk elsewhere hardly notice.
pub(crate) async fn noisy_beside_quiet(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut first = Pair::arrive(&scene, "first").await?;
    let mut second = Pair::arrive(&scene, "second").await?;
    let mut third = Pair::arrive(&scene, "third").await?;
    let calm = first.talks(50).await?.figures()?;
    let mut noisy = Vec::new();
    for number in 0..NOISY {
        noisy.push(scene.arrives(&format!("noisy-{number}"), "phone").await?);
    }
    let (host, guests) = noisy.split_first().context("nobody")?;
    let guests: Vec<&str> = guests.iter().map(|it| it.user()).collect();
    let group = host
        .create_group("Noise", &guests, HistoryVisibility::All)
        .await?;
    let mut load = Load::new();
    for person in &noisy {
        let target = Target::conversation(&group);
        load.add_with(person.client(), target, person.user(), WINDOW);
    }
    // Until the burst is over, too.
    load.goes_on(250).await?;
    let before: u64 = load.receipts().iter().sum();
    let begun = Instant::now();
    let noise = async {
        sleep_until(begun + LASTS).await;
        Ok(())
    };
    let others = second.during(third.during(noise));
    let (times_of_first, (times_of_second, (times_of_third, ()))) = first.during(others).await?;
    let during: u64 = load.receipts().iter().sum::<u64>() - before;
    let noisy_per_s = during as f64 / begun.elapsed().as_secs_f64();
    let refused = scene.server.metric(&REFUSALS).await?;
    let acked = load.ends().await?;
    let quiet = [&times_of_first, &times_of_second, &times_of_third];
    let quiet: Vec<Figures> = quiet
        .into_iter()
        .map(super::pair::Times::figures)
        .collect::<anyhow::Result<_>>()?;
    let report = Report {
        calm,
        quiet,
        noisy_per_s,
        refused,
    };
    arguments.report(&report)?;
    ensure!(
        refused >= 1.0 && noisy_per_s >= 50.0,
        "nothing was noisy: {report:?}"
    );
    for figures in &report.quiet {
        figures.demand(P99)?;
    }
    let said = first.said() + second.said() + third.said();
    let minimums = Minimums {
        acks: acked + said,
        refusals: 1,
        retries: 1,
        duplicates: 0,
        deliveries: acked + said,
        syncs: 0,
        restarts: 0,
        beside: Counts {
            clients: 6 + NOISY as u64,
            conversations: 4,
            ends: 6 + NOISY as u64,
            ..Counts::default()
        },
    };
    for pair in [first, second, third] {
        noisy.extend(pair.people());
    }
    scene.ends(noisy, minimums).await
}
