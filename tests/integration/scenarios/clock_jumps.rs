//! A wall clock that somebody sets.

use std::collections::BTreeMap;

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::{Target, TokenSource};
use flare_proto::message::HistoryVisibility;

use super::load::Load;
use crate::{
    arguments::Arguments,
    deployment::{Deployment, Kind, Owned, Part},
    judge::Minimums,
    raw::Raw,
    scene::{Needs, Scene},
};

pub(super) const OWN_CLOCK: &Needs = &Needs {
    clock: true,
    ..Needs::NONE
};
/// Receipts of each writer between two jumps.
const BETWEEN: u64 = 25;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// `identity.leeway_s`, if nobody sets it.
const LEEWAY_S: i64 = 5;
/// A token is good for so long here.
const SHORT_S: i64 = 300;
/// For what passes between two looks at a clock.
const MARGIN_S: i64 = 60;

/// What the processes say when somebody becomes an owner, and when what goes by time ends.
const TAKEN: &[&str] = &["partition owned"];
const ENDED: &[&str] = &["a gateway's lease ended", "epoch ended"];

/// An hour forward, two back, a day forward and back again, under load, and a crash with the clock behind what was kept: the order stays, nothing is lost or doubled, nobody is cut off,
/// no lease ends, and tokens are good by the clock as it is.
pub(crate) async fn clock_jumps(mut scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let cat = scene.arrives("cat", "phone").await?;
    let group = ann
        .create_group("Times", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    let mut load = Load::new();
    load.add(ann.client(), Target::user("ben"), "ann");
    load.add(ben.client(), Target::conversation(&group), "ben");
    load.add(cat.client(), Target::conversation(&group), "cat");
    load.goes_on(BETWEEN).await?;
    let is_cluster = scene.server.kind() == Kind::Cluster;
    if is_cluster {
        // Until they have shared the partitions out, these go from one to another.
        scene.server.owners_when("two owners", share).await?;
    }
    let (owned, ended) = (logged(&scene, TAKEN)?, logged(&scene, ENDED)?);
    let mut jumps = Vec::new();
    for ahead_s in [HOUR_S, -HOUR_S, DAY_S - MARGIN_S, 0] {
        scene.clock()?.is_ahead_by(ahead_s)?;
        load.goes_on(BETWEEN).await?;
        let said = ann.post(&group, &format!("ahead by {ahead_s} s")).await?;
        cat.reads_to(&group, said.seq).await?;
        jumps.push(said.seq);
    }
    for person in [&ann, &ben, &cat] {
        let ends = person.look(|it| it.ends.clone());
        ensure!(ends.is_empty(), "{} was cut off: {ends:?}", person.user());
    }
    ensure!(
        jumps.is_sorted(),
        "what was said later stands earlier: {jumps:?}"
    );
    tokens_go_by_the_clock(&scene).await?;

    ensure!(
        logged(&scene, ENDED)? == ended && logged(&scene, TAKEN)? == owned,
        "a jump of the clock, and leases ended, or partitions were taken"
    );

    // What it kept last was written in a time that has not come yet.
    scene.crash(Part::Core).await?;
    load.goes_on(BETWEEN).await?;
    let acked = load.ends().await?;
    let after = logged(&scene, TAKEN)?;
    if is_cluster {
        // As they come back one after the other, a partition may be taken more than once.
        let least = owned + Deployment::PARTITIONS as usize;
        ensure!(after >= least, "partitions were taken {after} times");
    } else {
        ensure!(after == owned + 1, "the partition was taken {after} times");
        ensure!(logged(&scene, ENDED)? == 0, "a lease or an epoch ended");
    }
    let said = jumps.len() as u64;
    let minimums = Minimums {
        acks: acked + said,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: acked + said,
        syncs: 3,
        restarts: 1,
        beside: Counts {
            clients: 5,
            conversations: 2,
            ends: 5,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben, cat], minimums).await
}

/// How often the processes have said one of these.
fn logged(scene: &Scene, what: &[&str]) -> anyhow::Result<usize> {
    let logs = scene.logs()?;
    Ok(what.iter().map(|it| logs.matches(it).count()).sum())
}

/// Each owner has as many partitions as another.
fn share(owners: &BTreeMap<u32, Owned>) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for owned in owners.values() {
        *counts.entry(&owned.process).or_default() += 1;
    }
    counts.len() > 1 && counts.values().min() == counts.values().max()
}

/// A token that has an end is taken until then and for the leeway more, whichever way the clock got there.
async fn tokens_go_by_the_clock(scene: &Scene) -> anyhow::Result<()> {
    let seconds = u64::try_from(SHORT_S)?;
    let token = scene.server.token_for("dan", seconds).await?;
    let (good, expired) = (None, Some("TokenExpired"));
    let tries = [
        (0, good),
        (DAY_S, expired),
        (SHORT_S + LEEWAY_S + 1, expired),
        // Beyond its end, and within the leeway; then before it was made.
        (SHORT_S, good),
        (-HOUR_S, Some("Unauthenticated")),
        (1 - LEEWAY_S, good),
        (HOUR_S, expired),
        (0, good),
    ];
    for (number, (ahead_s, refusal)) in tries.into_iter().enumerate() {
        scene.clock()?.is_ahead_by(ahead_s)?;
        let name = format!("device-{number}");
        let mut device = scene.device("dan", &name).await?;
        device.token = TokenSource::Fixed(token.clone());
        let comes_in = Raw::arrive(device, scene.recorder("dan", &name)?).await;
        let told = comes_in.err().map(|it| format!("{it:#}"));
        let is_told = match (&told, refusal) {
            (None, None) => true,
            (Some(told), Some(code)) => told.contains(&format!("code: {code},")),
            _ => false,
        };
        ensure!(
            is_told,
            "with the clock ahead by {ahead_s} s, {refusal:?} was to come, and {told:?} came"
        );
    }
    Ok(())
}
