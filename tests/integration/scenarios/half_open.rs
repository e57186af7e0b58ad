//! Readers who are there, and are not: they stand still, or their network is gone and nobody has told the server.

use std::time::Duration;

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_proto::message::HistoryVisibility;
use serde::Serialize;
use tokio::time::Instant;

use super::pair::{Figures, Pair};
use crate::{
    arguments::Arguments,
    cable::Cable,
    judge::Minimums,
    person::{Person, SOON},
    raw::Raw,
    scene::{Needs, Scene},
};

/// Of each kind.
const EACH: usize = 6;
const HEARTBEAT_MS: u32 = 1_000;
pub(super) const QUICK_HEARTBEAT: &Needs = &Needs {
    settings: &["access_gateway.min_heartbeat_ms=1000"],
    ..Needs::NONE
};
/// As documented, two heartbeats without a frame; and as much for a busy machine.
const IDLE_WITHIN: Duration = Duration::from_millis(4 * HEARTBEAT_MS as u64);
const LARGE: usize = 60_000;
/// What waits for a connection at most, `access_gateway.outbound_bytes` of every scenario, counts twice: also what is being written.
const OUTBOUND: f64 = 2.0 * 262_144.0;
/// What the messages themselves take in the caches and tables of the server.
const MEMORY: f64 = 160.0 * 1_048_576.0;
const P99: Duration = Duration::from_secs(3);
const CLOSES: &str = "flare_access_gateway_closes_total";

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    meanwhile: Figures,
    idle_closed_after_s: f64,
    all_closed_after_s: f64,
    posts: usize,
    memory_before_bytes: f64,
    memory_after_bytes: f64,
    all_back_after_s: f64,
}

/// A conversation goes on while some of its readers stand still, the network of others is gone, and so is that of some who have nothing to read: each is closed in the
/// documented time, the server keeps no more for them than it says, and whoever comes back has everything.
pub(crate) async fn half_open_readers(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut pair = Pair::arrive(&scene, "pair").await?;
    let ann = scene.arrives("ann", "phone").await?;
    let named =
        |kind: &str| -> Vec<String> { (0..EACH).map(|it| format!("{kind}-{it}")).collect() };
    let (stuck, vanished, idle) = (named("stuck"), named("vanished"), named("idle"));
    let members: Vec<&str> = stuck.iter().chain(&vanished).map(String::as_str).collect();
    let group = ann
        .create_group("Busy", &members, HistoryVisibility::All)
        .await?;
    let cable = Cable::lay(&scene.server.url()?).await?;
    let mut away = Vec::new();
    for user in &stuck {
        away.push(scene.raw(user, "phone").await?);
    }
    for user in vanished.iter().chain(&idle) {
        let mut device = scene.device(user, "phone").await?;
        cable.url().clone_into(&mut device.url);
        let recorder = scene.recorder(user, "phone")?;
        away.push(Raw::arrive_beating(device, recorder, HEARTBEAT_MS).await?);
    }
    let memory_before_bytes = scene.memory().await?;
    cable.falls_silent();
    let begun = Instant::now();
    let (times, (idle_closed_after_s, posts)) = pair
        .during(closed_while_posts_go_on(&scene, &ann, &group, begun))
        .await?;
    let all_closed_after_s = begun.elapsed().as_secs_f64();
    let memory_after_bytes = scene.memory().await?;

    let back = Instant::now();
    let mut people: Vec<Person> = away
        .into_iter()
        .map(|it| {
            let (device, recorder) = it.leave();
            Person::arrive(device, recorder)
        })
        .collect();
    let last = ann.post(&group, "are you back?").await?;
    for person in &people {
        person.in_step().await?;
        if !person.user().starts_with("idle") {
            person.reads_to(&group, last.seq).await?;
        }
    }
    let meanwhile = times.figures()?;
    let report = Report {
        meanwhile,
        idle_closed_after_s,
        all_closed_after_s,
        posts,
        memory_before_bytes,
        memory_after_bytes,
        all_back_after_s: back.elapsed().as_secs_f64(),
    };
    arguments.report(&report)?;
    ensure!(
        idle_closed_after_s <= IDLE_WITHIN.as_secs_f64(),
        "those without a network were closed late: {report:?}"
    );
    let most = memory_before_bytes + MEMORY + OUTBOUND * (3 * EACH) as f64;
    ensure!(
        memory_after_bytes <= most,
        "the server keeps too much for those who do not read: {report:?}"
    );
    meanwhile.demand(P99)?;
    let posts = u64::try_from(posts).context("so many")?;
    let minimums = Minimums {
        acks: pair.said() + posts + 1,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: pair.said() + posts * 2 * EACH as u64,
        syncs: 2 * EACH as u64,
        restarts: 0,
        beside: Counts {
            clients: 3 + 3 * EACH as u64,
            connections: 3 + 6 * EACH as u64,
            disconnections: 3 * EACH as u64,
            ends: 3 + 2 * EACH as u64,
            ..Counts::default()
        },
    };
    people.push(ann);
    people.extend(pair.people());
    scene.ends(people, minimums).await
}

/// Posts what is large until all are closed who do not read; when those were who have no network, and how many posts it took.
async fn closed_while_posts_go_on(
    scene: &Scene,
    ann: &Person,
    group: &str,
    begun: Instant,
) -> anyhow::Result<(f64, usize)> {
    let said = "p".repeat(LARGE);
    let mut idle_closed_after_s = None;
    let mut posts = 0;
    loop {
        ann.post(group, &said).await?;
        posts += 1;
        let idle = scene.server.metric(&[CLOSES, "IDLE"]).await?;
        let slow = scene.server.metric(&[CLOSES, "SLOW_READER"]).await?;
        // Those who have something to read may be closed for either reason.
        if idle + slow >= 2.0 * EACH as f64 && idle >= EACH as f64 {
            idle_closed_after_s.get_or_insert(begun.elapsed().as_secs_f64());
        }
        if let Some(after_s) = idle_closed_after_s
            && idle + slow >= 3.0 * EACH as f64
        {
            ensure!(
                slow >= EACH as f64,
                "{slow} were closed as slow readers, {idle} as idle"
            );
            return Ok((after_s, posts));
        }
        ensure!(
            begun.elapsed() < SOON,
            "{idle} were closed as idle and {slow} as slow readers within {SOON:?}, of {}",
            3 * EACH
        );
    }
}
