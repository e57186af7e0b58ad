//! Who does not read what he is sent.

use anyhow::{Context, ensure};
use flare_checker::Counts;
use flare_core::codec::ServerFrame;
use flare_proto::client::CloseReason;

use crate::{
    arguments::Arguments,
    deployment::Kind,
    judge::Minimums,
    person::Person,
    raw::{Heard, Raw},
    scene::Scene,
};

const OVERFLOWS: &str = "flare_access_gateway_outbound_overflows_total";
const CLOSES: [&str; 2] = ["flare_access_gateway_closes_total", "SLOW_READER"];
/// More than the kernel's buffers and the server's queue together hold.
const MOST_MESSAGES: u32 = 1_000;
/// In one process nobody is sent so much in a moment that fewer fill them.
const LEAST_MESSAGES: u64 = 100;
const MESSAGE_BYTES: usize = 60_000;
/// So many of them are in a page of an inbox, by `session.max_inbox_page_bytes`.
const PER_PAGE: u64 = 3;

/// Sends large messages to eve, who does not read, until the metric has risen to 1.
async fn flood(scene: &Scene, ann: &Person, metric: &[&str], sent: &mut u32) -> anyhow::Result<()> {
    while scene.server.metric(metric).await? < 1.0 {
        ensure!(
            *sent < MOST_MESSAGES,
            "{metric:?} did not rise with {sent} messages"
        );
        let text = format!("{sent:08}").repeat(MESSAGE_BYTES / 8);
        ann.tell("eve", &text).await?;
        *sent += 1;
    }
    Ok(())
}

async fn hint(eve: &mut Raw) -> anyhow::Result<()> {
    loop {
        match eve.hears().await? {
            Heard::Frame(frame) if matches!(*frame, ServerFrame::SyncHint(_)) => return Ok(()),
            Heard::Frame(_) => {}
            Heard::Closed(reason) => anyhow::bail!("closed with {reason:?} before a hint"),
        }
    }
}

/// He is told to sync instead; when it happens again he is closed. Nothing is lost: he has all of it after coming back.
pub(crate) async fn slow_reader(scene: Scene, _: &Arguments) -> anyhow::Result<()> {
    let ann = scene.arrives("ann", "phone").await?;
    let mut eve = scene.raw("eve", "phone").await?;
    let mut sent = 0;
    flood(&scene, &ann, &[OVERFLOWS], &mut sent).await?;
    hint(&mut eve).await?;
    flood(&scene, &ann, &CLOSES, &mut sent).await?;
    let closed = loop {
        if let Heard::Closed(reason) = eve.hears().await? {
            break reason;
        }
    };
    ensure!(
        matches!(closed, None | Some(CloseReason::SlowReader)),
        "closed with {closed:?}"
    );

    let (device, recorder) = eve.leave();
    let eve = Person::arrive(device, recorder);
    let last = ann.tell("eve", "are you back?").await?;
    eve.hears(&last.conversation_id, "are you back?").await?;
    let whole = eve.look(|view| {
        view.events_of(&last.conversation_id)
            .filter(|(_, it)| it.text_bytes == MESSAGE_BYTES)
            .count()
    });
    ensure!(
        whole == usize::try_from(sent).context("so many")?,
        "{whole} of {sent} messages arrived"
    );
    let sent = u64::from(sent);
    let least = match scene.server.kind() {
        Kind::Embedded | Kind::Split => LEAST_MESSAGES,
        Kind::Cluster => 0,
    };
    let minimums = Minimums {
        acks: (sent + 1).max(least),
        refusals: 0,
        retries: 0,
        duplicates: 0,
        deliveries: sent + 1,
        // The last of them may come by themselves.
        syncs: sent.max(least) / (PER_PAGE + 1),
        restarts: 0,
        beside: Counts {
            clients: 2,
            sync_hints: 1,
            connections: 3,
            ends: 2,
            ..Counts::default()
        },
    };
    scene.ends(vec![ann, eve], minimums).await
}
