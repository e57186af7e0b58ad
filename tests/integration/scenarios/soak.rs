//! Everything at once for long: what the server holds does not grow.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, ensure};
use flare_checker::Counts;
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    arguments::Arguments,
    crew::{Crew, Size},
    judge::Minimums,
    process,
    scene::Scene,
    worker::Tally,
};

const SEED: u64 = 0x0050_a4ed;
const SIZE: Size = Size {
    writers: 4,
    readers: 3,
    guests: 3,
};
/// A long soak is preceded by as much of the fastest traffic.
const FILLING_S: &str = "60";
const SHORTEST: Duration = Duration::from_secs(30);
/// Looks at the server in all.
const LOOKS: u32 = 60;
/// From the first third to the last memory may grow so much, by chance and by what an allocator keeps.
const MEMORY_MARGIN: f64 = 24.0 * 1_048_576.0;
const MEMORY_FACTOR: f64 = 1.15;
/// What an event leaves in memory until that is full: recent ones, client ids, rows that are not yet sorted into files.
const KEPT_BYTES: f64 = 4_096.0;
/// Likewise handles: of a connection that comes back while we look, and of files that are changed for others.
const HANDLES_MARGIN: f64 = 16.0;
/// Likewise tasks: of those connections, and of calls in flight.
const TASKS_MARGIN: f64 = 64.0;

/// Likewise threads: the runtime's blocking ones come and go.
const THREADS_MARGIN: f64 = 8.0;

const TASKS: &str = "flare_runtime_tasks";
const EVENTS: &str = "flare_orchestrator_group_events_sum";

/// What is looked at, how it is read, and by which factor and by how much it may grow.
struct Rule(&'static str, fn(&Look) -> f64, f64, f64);

/// The server at a moment, all its processes together.
#[derive(Clone, Copy, Debug, Serialize)]
struct Look {
    after_s: f64,
    memory_bytes: f64,
    handles: f64,
    threads: f64,
    tasks: f64,
    /// That were decided since the start.
    events: f64,
}

/// What `--json` keeps.
#[derive(Debug, Serialize)]
struct Report {
    seconds: u64,
    looks: Vec<Look>,
    counts: BTreeMap<&'static str, u64>,
    tally: Tally,
}

/// Memory, file handles and tasks are flat while people write, read, turn pages, come and go.
pub(crate) async fn soak(scene: Scene, arguments: &Arguments) -> anyhow::Result<()> {
    let lasts = arguments
        .minutes
        .map_or(SHORTEST, |it| Duration::from_secs(u64::from(it) * 60));
    if arguments.minutes.is_some() {
        fill(&scene).await?;
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    let root = scene.arrives("root", "console").await?;
    let mut crew = Crew::start(&scene, &root, SIZE, &mut rng).await?;
    crew.goes_on(1).await?;
    let processes = scene.server.processes().len();
    let begun = Instant::now();
    let mut looks = Vec::new();
    let mut turns = interval(lasts / LOOKS);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while begun.elapsed() < lasts {
        turns.tick().await;
        crew.listen().await?;
        looks.push(look(&scene, begun).await?);
    }
    // Nobody has stopped.
    crew.goes_on(1).await?;
    let tally = crew.ends(&scene).await?;
    let seconds = lasts.as_secs();
    let minimums = Minimums {
        acks: seconds * 5,
        deliveries: seconds * 20,
        syncs: seconds / 10,
        beside: Counts {
            joins: seconds / 10,
            removals: seconds / 10,
            ..Counts::default()
        },
        refusals: 0,
        retries: 0,
        duplicates: 0,
        restarts: 0,
    };
    let counts = scene.ends_with(vec![root], minimums).await?;
    arguments.report(&Report {
        seconds,
        looks: looks.clone(),
        counts: counts.named().into_iter().collect(),
        tally,
    })?;
    is_flat(&looks, processes, arguments.minutes.is_some())
}

/// What is kept in memory up to a bound is brought there first: recent events, client ids, rows that are not yet sorted into files.
async fn fill(scene: &Scene) -> anyhow::Result<()> {
    let data = scene.server.data();
    let data = data.to_str().context("no UTF-8")?;
    let url = scene.server.url()?;
    process::run(&[
        "bench",
        "direct",
        "--url",
        &url,
        "--data",
        data,
        "--pairs",
        "50",
        "--seconds",
        FILLING_S,
    ])
    .await?;
    Ok(())
}

async fn look(scene: &Scene, begun: Instant) -> anyhow::Result<Look> {
    let mut look = Look {
        after_s: begun.elapsed().as_secs_f64(),
        memory_bytes: 0.0,
        handles: 0.0,
        threads: 0.0,
        tasks: 0.0,
        events: 0.0,
    };
    for part in scene.server.parts() {
        for pid in scene.server.ids(*part)? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            look.memory_bytes += field(&status, "VmRSS:")? * 1_024.0;
            look.handles += fs::read_dir(format!("/proc/{pid}/fd"))?.count() as f64;
            look.threads += field(&status, "Threads:")?;
        }
        look.tasks += scene.server.metric_of(*part, &[TASKS]).await?;
        look.events += scene.server.metric_of(*part, &[EVENTS]).await?;
    }
    Ok(look)
}

fn field(status: &str, name: &str) -> anyhow::Result<f64> {
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    let number = line.and_then(|it| it.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name}"))?.parse()?)
}

/// The middle of the last third lies no higher than the middle of the first, but for a margin, to which each further process adds; and for what the events between them leave in memory, unless that
/// `is_full`.
fn is_flat(looks: &[Look], processes: usize, is_full: bool) -> anyhow::Result<()> {
    let others = processes.saturating_sub(1) as f64;
    let third = looks.len() / 3;
    ensure!(third >= 3, "{} looks say nothing", looks.len());
    let middle = |of: &[Look], what: fn(&Look) -> f64| {
        let mut values: Vec<f64> = of.iter().map(what).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let thirds = (&looks[..third], &looks[looks.len() - third..]);
    let events = middle(thirds.1, |it| it.events) - middle(thirds.0, |it| it.events);
    let kept = if is_full { 0.0 } else { events * KEPT_BYTES };
    let rules = [
        Rule(
            "bytes of memory",
            |it| it.memory_bytes,
            MEMORY_FACTOR,
            MEMORY_MARGIN + kept,
        ),
        Rule(
            "file handles",
            |it| it.handles,
            1.0,
            HANDLES_MARGIN + others,
        ),
        Rule("threads", |it| it.threads, 1.0, THREADS_MARGIN + others),
        Rule("tasks", |it| it.tasks, 1.0, TASKS_MARGIN + 8.0 * others),
    ];
    for Rule(name, what, factor, margin) in rules {
        let (first, last) = (middle(thirds.0, what), middle(thirds.1, what));
        ensure!(first > 0.0, "{name} were not seen");
        ensure!(
            last <= first * factor + margin,
            "{name} grew from {first} to {last}"
        );
    }
    Ok(())
}
