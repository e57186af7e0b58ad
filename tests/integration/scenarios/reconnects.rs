//! All at once.

use std::time::Duration;

use anyhow::ensure;
use flare_checker::Counts;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    crowd::{Back, Crowd, affordable},
    pair::{Figures, Pair},
};
use crate::{arguments::Arguments, cable::Cable, deployment::Part, judge::Minimums, scene::Scene};

const P99: Duration = Duration::from_secs(3);

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    clients: usize,
    calm: Figures,
    after_a_break: Back,
    /// Of a pair whose own connections were not broken.
    meanwhile: Figures,
    after_a_crash: Back,
    /// From the start of the new process to the pair's first word.
    pair_talks_after_s: f64,
}

/// Every connection breaks at once, and then the server is killed: all come back in time, those who were not cut off talk on, and so do all after a crash.
pub(crate) async fn all_come_back(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let clients = affordable(arguments.clients)?;
    let mut pair = Pair::arrive(&scene, "pair").await?;
    let calm = pair.talks(50).await?.figures()?;
    let cable = Cable::lay(&scene.server.url()?).await?;
    let crowd = Crowd::gather(&scene, &cable, clients).await?;

    cable.breaks();
    let (times, after_a_break) = pair.during(crowd.comes_back(1)).await?;
    let meanwhile = times.figures()?;

    scene.crash(Part::Edge).await?;
    let begun = Instant::now();
    let (talks, after_a_crash) = tokio::join!(
        async {
            pair.talks(1).await?;
            anyhow::Ok(begun.elapsed().as_secs_f64())
        },
        crowd.comes_back(2)
    );
    let report = Report {
        clients,
        calm,
        after_a_break,
        meanwhile,
        after_a_crash: after_a_crash?,
        pair_talks_after_s: talks?,
    };
    arguments.report(&report)?;
    let open = scene
        .server
        .metric(&["flare_access_gateway_connections"])
        .await?;
    ensure!(
        open >= clients as f64,
        "{open} connections are open, of {clients}"
    );
    meanwhile.demand(P99)?;
    crowd.leaves().await;
    let minimums = Minimums {
        acks: pair.said(),
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: pair.said(),
        syncs: 0,
        restarts: 1,
        beside: Counts {
            clients: 3,
            ends: 2,
            ..Counts::default()
        },
    };
    scene.ends(pair.people().into(), minimums).await
}
