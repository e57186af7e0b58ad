//! The same message once more.

use anyhow::ensure;
use flare_checker::Counts;

use crate::{arguments::Arguments, deployment::Part, judge::Minimums, scene::Scene};

/// What is said, and kept.
const KEPT: &str = "kept, but the receipt is lost";

/// A client that lost the receipt sends the same again: one message, and the first receipt, marked as a duplicate.
pub(crate) async fn retry_after_a_lost_ack(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ben = scene.arrives("ben", "phone").await?;
    let mut ann = scene.raw("ann", "phone").await?;

    // Kept for certain when the connection is dropped: ben has it.
    ann.send("ben", "kept-1", KEPT, false).await?;
    let chat = ben
        .sees("the first message", |view| {
            view.events.keys().find(|it| it.starts_with("d_")).cloned()
        })
        .await?;
    let seq = ben.hears(&chat, KEPT).await?;
    ann.reconnect().await?;
    ann.send("ben", "kept-1", KEPT, true).await?;
    let ack = ann.receipt().await?;
    ensure!(
        ack.duplicate && ack.seq == seq,
        "the retry got {ack:?}, ben has it at {seq}"
    );

    // Dropped while the message is on its way: kept or not, afterwards it is there once.
    let mut placed = Vec::new();
    for number in 0..10 {
        let (id, said) = (format!("cut-{number}"), format!("cut off {number}"));
        ann.send("ben", &id, &said, false).await?;
        ann.reconnect().await?;
        ann.send("ben", &id, &said, true).await?;
        let ack = ann.receipt().await?;
        placed.push(ack.seq);
        ben.hears(&chat, &said).await?;
    }
    ensure!(
        placed == (seq + 1..=seq + 10).collect::<Vec<_>>(),
        "ten messages stand at {placed:?}"
    );

    // Over and over on one connection.
    for _ in 0..3 {
        ann.send("ben", "kept-1", KEPT, true).await?;
        let ack = ann.receipt().await?;
        ensure!(ack.duplicate && ack.seq == seq, "a later retry got {ack:?}");
    }
    // What a crash interrupted is remembered by the next server.
    let mut scene = scene;
    scene.crash(Part::Core).await?;
    ben.in_step().await?;
    ann.reconnect().await?;
    let refused_for = scene.server.kind().refuses_for();
    let ack = ann
        .send_until_kept("ben", "kept-1", KEPT, true, refused_for)
        .await?;
    ensure!(
        ack.duplicate && ack.seq == seq,
        "a retry after a crash got {ack:?}"
    );

    let minimums = Minimums {
        acks: 15,
        refusals: 0,
        retries: 15,
        duplicates: 5,
        deliveries: 11,
        syncs: 0,
        restarts: 1,
        beside: Counts {
            connections: 13,
            server_events: 11,
            ..Counts::default()
        },
    };
    scene.ends(vec![ben], minimums).await
}
