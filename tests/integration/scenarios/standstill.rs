//! A process that stands still for longer than its lease, and goes on as if nothing had been.

use std::time::Duration;

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::Target;
use flare_proto::message::HistoryVisibility;
use tokio::time::{Instant, sleep_until};

use super::load::Load;
use crate::{arguments::Arguments, deployment::Part, judge::Minimums, scene::Scene};

/// Receipts of each writer before, and after.
const BETWEEN: u64 = 25;
/// Longer than `signaling_online.lease_ms` is, if nobody sets it.
const LONGER_THAN_A_LEASE: Duration = Duration::from_millis(16_500);

/// So often it is tried to have a lease end.
const ROUNDS: u32 = 3;

/// SIGSTOP of each process under load until its leases are over, then SIGCONT: no promise is broken, and everybody writes on.
pub(crate) async fn stands_still(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene.arrives("ben", "phone").await?;
    let cat = scene.arrives("cat", "phone").await?;
    let group = ann
        .create_group("Still", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    let mut load = Load::new();
    load.add(ann.client(), Target::user("ben"), "ann");
    load.add(ben.client(), Target::conversation(&group), "ben");
    load.add(cat.client(), Target::conversation(&group), "cat");
    for round in 1.. {
        for part in scene.server.parts() {
            stand_still(&scene, *part, &mut load).await?;
        }
        if scene.logs()?.contains("a gateway's lease ended") {
            break;
        }
        // A gateway that wakes up may renew its lease before it is missed.
        ensure!(
            round < ROUNDS,
            "no lease ended: nothing stood still for long enough"
        );
    }
    let acked = load.ends().await?;
    let minimums = Minimums {
        acks: acked,
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: acked,
        // Who has missed nothing when it goes on need not ask.
        syncs: 0,
        restarts: 0,
        beside: Counts {
            clients: 3,
            // Each has sent something when its gateway stops, and gives the connection up that does not answer.
            connections: 6,
            disconnections: 3,
            conversations: 2,
            ends: 5,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, ben, cat], minimums).await
}

/// Stops a part until its leases are over, and lets it go on.
async fn stand_still(scene: &Scene, part: Part, load: &mut Load) -> anyhow::Result<()> {
    load.goes_on(BETWEEN).await?;
    scene.server.signal(part, "STOP").await?;
    // What was under way when it stopped has arrived long before half of it is over.
    sleep_until(Instant::now() + LONGER_THAN_A_LEASE / 2).await;
    let stopped = load.receipts();
    sleep_until(Instant::now() + LONGER_THAN_A_LEASE / 2).await;
    ensure!(
        load.receipts() == stopped,
        "{part:?} was stopped, and receipts came"
    );
    scene.server.signal(part, "CONT").await?;
    load.goes_on(BETWEEN).await
}
