//! Who sends as fast as it can, and never reads what comes.

use std::time::Duration;

use anyhow::ensure;
use flare_checker::Counts;
use flare_proto::client::CloseReason;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::pair::{Figures, Pair};
use crate::{
    arguments::Arguments,
    judge::Minimums,
    person::SOON,
    raw::{Heard, Raw},
    scene::{Needs, Scene},
};

/// Who sends small frames, and is closed for it.
const HASTY: usize = 3;
/// Who sends large ones: the server reads no faster than it answers.
const HEAVY: usize = 2;
const LARGE: usize = 60_000;
/// The heavy ones begin then; they have so many frames each.
const HEAVY_FRAMES: u64 = 150;
/// The server may take so much memory meanwhile: what it keeps of recent messages, and nothing of what is not read.
const MEMORY: f64 = 192.0 * 1_048_576.0;
/// Of a debug build on two cores that these keep busy.
const P99: Duration = Duration::from_secs(3);
/// Far less than is usual: more than a busy debug build reaches, and what the quiet pair needs.
pub(super) const SLOW_PACE: &Needs = &Needs {
    settings: &[
        "access_gateway.frames_per_s=60",
        "access_gateway.frame_burst=120",
        "access_gateway.max_excess_frames=120",
    ],
    ..Needs::NONE
};
/// Fewer frames than that close nobody.
const PATIENCE: u64 = 240;
/// To whom all is sent. He comes when all is over.
const READER: &str = "reader";
const CLOSES: [&str; 2] = ["flare_access_gateway_closes_total", "TOO_FAST"];

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    calm: Figures,
    meanwhile: Figures,
    hasty_frames: u64,
    hasty_closed_after_s: f64,
    heavy_bytes: u64,
    memory_before_bytes: f64,
    memory_after_bytes: f64,
}

/// Those who send small frames are closed with TOO_FAST; those who send large ones are read as fast as they are answered; the server's memory is bounded, others wait little,
/// and what was taken is kept in order.
pub(crate) async fn sends_without_reading(
    scene: Scene,
    arguments: &Arguments,
) -> anyhow::Result<()> {
    let mut pair = Pair::arrive(&scene, "pair").await?;
    let calm = pair.talks(50).await?.figures()?;
    let memory_before_bytes = scene.memory().await?;
    let (times, (hasty_frames, hasty_closed_after_s, heavy_bytes)) = pair
        .during(async {
            let mut hasty = JoinSet::new();
            for number in 0..HASTY {
                let device = scene.raw(&format!("hasty-{number}"), "phone").await?;
                hasty.spawn(hurries(device));
            }
            let begun = Instant::now();
            let mut frames = 0;
            while let Some(sent) = hasty.join_next().await {
                frames += sent??;
            }
            let closed_after_s = begun.elapsed().as_secs_f64();
            let mut heavy = JoinSet::new();
            for number in 0..HEAVY {
                let device = scene.raw(&format!("heavy-{number}"), "phone").await?;
                heavy.spawn(heaves(device));
            }
            let mut bytes = 0;
            while let Some(sent) = heavy.join_next().await {
                bytes += sent??;
            }
            Ok((frames, closed_after_s, bytes))
        })
        .await?;
    let memory_after_bytes = scene.memory().await?;
    let closes = scene.server.metric(&CLOSES).await?;
    ensure!(
        closes >= HASTY as f64,
        "{CLOSES:?} is {closes}, {HASTY} were to be closed"
    );
    ensure!(
        memory_after_bytes <= memory_before_bytes + MEMORY,
        "memory grew from {memory_before_bytes} to {memory_after_bytes} bytes"
    );
    let meanwhile = times.figures()?;
    let report = Report {
        calm,
        meanwhile,
        hasty_frames,
        hasty_closed_after_s,
        heavy_bytes,
        memory_before_bytes,
        memory_after_bytes,
    };
    arguments.report(&report)?;
    meanwhile.demand(P99)?;
    // Without a limit their answers alone would have been waiting, and the frames.
    ensure!(
        hasty_frames >= HASTY as u64 * PATIENCE && heavy_bytes >= 4 << 20,
        "too little was sent: {report:?}"
    );
    let reader = scene.arrives(READER, "phone").await?;
    let minimums = Minimums {
        acks: pair.said(),
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: pair.said() + 200,
        syncs: 1,
        restarts: 0,
        beside: Counts {
            clients: 3 + (HASTY + HEAVY) as u64,
            intents: hasty_frames,
            server_events: 200,
            ends: 2 + (HASTY + HEAVY) as u64,
            ..Counts::default()
        },
    };
    let mut people = vec![reader];
    people.extend(pair.people());
    scene.ends(people, minimums).await
}

/// Sends until the server will have no more; how many frames.
async fn hurries(mut device: Raw) -> anyhow::Result<u64> {
    let mut sent = 0;
    let deadline = Instant::now() + SOON;
    loop {
        let id = format!("hasty-{sent}");
        let put = device.send(READER, &id, &id, false);
        match timeout(SOON, put).await? {
            Ok(_) => sent += 1,
            Err(_) => break,
        }
        ensure!(
            Instant::now() < deadline,
            "{sent} frames were taken within {SOON:?}"
        );
    }
    // It looks up at last.
    loop {
        if let Heard::Closed(reason) = device.hears().await? {
            ensure!(
                matches!(reason, None | Some(CloseReason::TooFast)),
                "closed with {reason:?}"
            );
            return Ok(sent);
        }
    }
}

/// Sends what is large, and is gone; how many bytes it got rid of.
async fn heaves(mut device: Raw) -> anyhow::Result<u64> {
    let said = "h".repeat(LARGE);
    let mut bytes = 0;
    for number in 0..HEAVY_FRAMES {
        let id = format!("heavy-{number}");
        let put = device.send(READER, &id, &said, false);
        // A quick server closes them, too.
        if timeout(SOON, put).await?.is_err() {
            break;
        }
        bytes += LARGE as u64;
    }
    device.leave();
    Ok(bytes)
}
