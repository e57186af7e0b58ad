//! The server is killed again and again, at random moments, or can write no more and ends by itself, while processes of their own write directly and to groups, read, turn pages,
//! and change who belongs to the groups; now and then one of these is killed too.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use flare_checker::Counts;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::{
    arguments::Arguments,
    crew::{Crew, Size},
    deployment::{Kind, Part},
    judge::{self, Minimums},
    process,
    scene::Scene,
    worker::Tally,
};

const SEED: u64 = 0x00f1_a3e5;
const SIZE: Size = Size {
    writers: 3,
    readers: 2,
    guests: 2,
};
/// Receipts that a writer must get between two kills.
const BETWEEN: u64 = 5;
/// With every so manyeth kill the server is not killed: its writes fail.
const WRITES_FAIL_EVERY: u32 = 4;
/// A writer is killed with every so manyeth kill of the server.
const WRITER_EVERY: u32 = 5;
/// The histories are judged after every so manyeth kill, and at the end.
const JUDGED_EVERY: u32 = 5;

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    cycles: u32,
    writes_failed: u32,
    counts: std::collections::BTreeMap<&'static str, u64>,
    tally: Tally,
    kept: bool,
}

/// What is acked is there after each kill, once and in order, and nobody reads what is not his; so says the checker time and again, and of all histories and the data folder at the end.
pub(crate) async fn kill_loop(mut scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let root = scene.arrives("root", "console").await?;
    let mut crew = Crew::start(&scene, &root, SIZE, &mut rng).await?;

    // The processes of a cluster keep none: they are in the servers that it stands on.
    let keeps_files = scene.server.kind() != Kind::Cluster;
    for cycle in 1..=arguments.cycles {
        crew.goes_on(BETWEEN)
            .await
            .with_context(|| format!("before kill {cycle}"))?;
        // A moment that has nothing to do with what the server is at.
        sleep_until(Instant::now() + Duration::from_micros(rng.random_range(0..400_000))).await;
        let ended = if keeps_files && cycle % WRITES_FAIL_EVERY == 0 {
            scene.fail_writes(Part::Core).await
        } else {
            scene.crash(Part::Core).await
        };
        ended.with_context(|| format!("kill {cycle}"))?;
        if cycle % WRITER_EVERY == 0 {
            crew.kills_a_writer(&mut rng).await?;
        }
        // A judgement takes as long as the histories are.
        if cycle % JUDGED_EVERY == 0 {
            let verdict = scene.verdict_so_far().await?;
            judge::demand(&verdict, &Counts::default())
                .with_context(|| format!("after kill {cycle}"))?;
        }
    }

    let tally = crew.ends(&scene).await?;
    demand(&tally, arguments.cycles.into())?;
    let cycles = u64::from(arguments.cycles);
    let (writers, readers) = (SIZE.writers as u64, SIZE.readers as u64);
    let minimums = Minimums {
        acks: cycles * writers * BETWEEN,
        // Guests outside of their groups.
        refusals: cycles / 5,
        // Commands that a kill left without an answer: a matter of chance, too.
        retries: cycles / 10,
        // Acks that a kill took: a matter of chance, 14 in 200 kills.
        duplicates: cycles / 50,
        deliveries: cycles * writers * BETWEEN,
        syncs: cycles,
        restarts: cycles,
        beside: Counts {
            clients: 3 + SIZE.writers as u64 + readers + SIZE.guests as u64,
            conversations: 2 + writers,
            disconnections: cycles * 3,
            joins: cycles / 4,
            removals: cycles / 4,
            // Who is out at the end claims nothing.
            ends: 2 + 2 + writers * 3 + readers * 2 + writers,
            ..Counts::default()
        },
    };
    let (data, histories) = (scene.server.data(), scene.histories());
    let counts = scene.ends_with(vec![root], minimums).await?;
    arguments.report(&Report {
        cycles: arguments.cycles,
        writes_failed: if keeps_files {
            arguments.cycles / WRITES_FAIL_EVERY
        } else {
            0
        },
        counts: counts.named().into_iter().collect(),
        tally,
        kept: true,
    })?;

    if !keeps_files {
        return Ok(());
    }
    // The same question to the stopped server's files.
    let mut words = vec![
        "verify".to_owned(),
        "--json".to_owned(),
        "--data".to_owned(),
        path(&data)?,
    ];
    for history in &histories {
        words.extend(["--history".to_owned(), path(history)?]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let report: serde_json::Value = serde_json::from_str(&process::run(&words).await?)?;
    ensure!(
        report.get("kept") == Some(&serde_json::Value::Bool(true)),
        "flare verify says {report}"
    );
    Ok(())
}

/// Each kind of load has been there.
fn demand(tally: &Tally, cycles: u64) -> anyhow::Result<()> {
    let least = [
        ("read positions moved", tally.marks, cycles / 2),
        ("pages turned", tally.pages, cycles / 2),
        ("members taken in", tally.taken_in, cycles / 5),
        ("members removed", tally.removed, cycles / 5),
        ("members who left", tally.left, cycles / 25),
        ("roles changed", tally.roles, cycles / 5),
        ("refused outside", tally.kept_out, cycles / 5),
    ];
    for (what, seen, wanted) in least {
        ensure!(
            seen >= wanted,
            "{what}: {seen} of at least {wanted}; {tally:?}"
        );
    }
    Ok(())
}

fn path(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("no UTF-8")?.to_owned())
}
