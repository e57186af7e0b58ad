//! The server goes and comes while people write.

use anyhow::ensure;
use flare_checker::Counts;
use flare_core_sdk::{Codec, Target};
use flare_proto::message::HistoryVisibility;

use super::{courier::Courier, groups::refusal, load::Load};
use crate::{arguments::Arguments, judge::Minimums, scene::Scene};

/// Receipts of each writer between two blows.
const BETWEEN: u64 = 25;

/// Kill -9 and clean restarts under load, of each process that there is: everything acked is kept, everybody gets everything, nobody stands still.
pub(crate) async fn restart_under_load(mut scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let ben = scene
        .arrives_with("ben", "console", |it| it.codec = Codec::Json)
        .await?;
    let tablet = scene.arrives("ben", "tablet").await?;
    let cat = scene.arrives("cat", "phone").await?;
    let group = ann
        .create_group("Storm", &["ben", "cat"], HistoryVisibility::All)
        .await?;
    let mut load = Load::new();
    load.add(ann.client(), Target::user("ben"), "ann");
    load.add(ben.client(), Target::conversation(&group), "ben");
    load.add(tablet.client(), Target::user("ann"), "tablet");
    load.add(cat.client(), Target::conversation(&group), "cat");
    let stranger = scene.arrives("dan", "phone").await?;
    let mut courier = Courier::new(&scene, "ann").await?;

    let mut restarts = 0;
    for _ in 0..2 {
        for part in scene.server.parts() {
            load.goes_on(BETWEEN).await?;
            courier.sends().await?;
            scene.crash(*part).await?;
            courier.sends_again().await?;
            let refused = stranger.saying(Target::conversation(&group), "let me in");
            ensure!(refusal(refused.await)? == "CONVERSATION_NOT_FOUND");
            load.goes_on(BETWEEN).await?;
            scene.restart(*part).await?;
            restarts += 2;
        }
    }
    load.goes_on(BETWEEN).await?;
    let acked = load.ends().await?;
    ensure!(acked >= 4 * BETWEEN * (restarts + 1), "{acked} receipts");
    let minimums = Minimums {
        acks: acked + restarts,
        refusals: restarts / 2,
        retries: restarts,
        duplicates: restarts / 2,
        deliveries: acked * 2,
        syncs: restarts,
        restarts,
        beside: Counts {
            clients: 7,
            conversations: 2,
            disconnections: restarts,
            ends: 7,
            ..Counts::default()
        },
    };
    scene
        .ends(vec![ann, ben, tablet, cat, stranger], minimums)
        .await
}
