//! The power fails at every step of a log's life, with every unsynced sector kept or lost.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use flare_server_core::log_file::faults::FaultyLayer;
use flare_server_core::log_file::{Durability, LogFile, LogOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const FOLDER: &str = "log";
const STEPS: usize = 6;

/// What is known about the log at any moment.
#[derive(Default)]
struct History {
    /// In their order, those whose append is under way included.
    attempted: Vec<Bytes>,
    /// The offsets at which an append ended.
    boundaries: Vec<u64>,
    /// So many of them must survive.
    durable: u64,
    /// What lies below may be gone.
    released: u64,
}

#[derive(Default)]
struct Campaign {
    history: Mutex<History>,
    crashes: AtomicUsize,
    violations: Mutex<Vec<String>>,
}

impl Campaign {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }
}

fn options(durability: Durability) -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        durability,
        prepare_ahead: false,
        ..LogOptions::default()
    }
}

/// Content that resembles what the format relies on.
fn content(rng: &mut StdRng) -> Bytes {
    let length = rng.random_range(0..1100);
    match rng.random_range(0..5) {
        0 => vec![0; length],
        1 => b"FlareFrm".repeat(length / 8),
        2 => {
            let mut zeros = vec![0; length];
            zeros.extend_from_slice(b"end");
            zeros
        }
        _ => {
            let mut bytes = vec![0; length];
            rng.fill(&mut bytes[..]);
            bytes
        }
    }
    .into()
}

/// Opens what a crash left, and says what is wrong with it.
fn check(disk: &FaultyLayer, durability: Durability, history: &History) -> Result<LogFile, String> {
    let log = LogFile::open(
        Arc::new(disk.clone()),
        Path::new(FOLDER),
        options(durability),
    )
    .map_err(|error| format!("cannot be opened: {error}"))?;
    let (floor, end) = (log.floor(), log.end());
    if floor > history.released || end < history.durable {
        return Err(format!(
            "holds {floor}..{end}, must hold {}..{}",
            history.released, history.durable
        ));
    }
    if durability == Durability::Synced && !history.boundaries.contains(&end) {
        return Err(format!("holds half an append: it ends at {end}"));
    }
    let mut next = floor;
    while next < end {
        let slice = log
            .reader()
            .read(next, 2_000)
            .map_err(|error| format!("cannot be read: {error}"))?;
        for (offset, record) in slice.records {
            if offset != next || history.attempted.get(offset as usize) != Some(&record) {
                return Err(format!("offset {offset} is wrong where {next} is due"));
            }
            next += 1;
        }
    }
    Ok(log)
}

/// Crashes a disk in several ways and checks each.
fn crash(disk: &FaultyLayer, durability: Durability, seed: u64, campaign: &Campaign) {
    let history = campaign.history();
    let note = |verdict: Result<(), String>| {
        campaign.crashes.fetch_add(1, SeqCst);
        if let Err(violation) = verdict {
            campaign
                .violations
                .lock()
                .unwrap()
                .push(format!("seed {seed}: {violation}"));
        }
    };
    note(check(&disk.power_loss(seed), durability, &history).map(drop));
    match seed % 8 {
        // The power fails again at every step of the recovery.
        0 => {
            let second = disk.power_loss(seed);
            let inner = Arc::new(Mutex::new(Vec::new()));
            let (states, observed) = (inner.clone(), inner);
            second.observe(move |state| states.lock().unwrap().push(state.process_crash()));
            drop(check(&second, durability, &history));
            for state in observed.lock().unwrap().iter() {
                note(check(&state.power_loss(seed / 8), durability, &history).map(drop));
            }
        }
        // The process dies, another opens the log and serves it, then the power fails.
        1 => note(read_then_lose_power(disk, durability, &history)),
        // Recovery leaves a log that can be appended to.
        2 => note(append_then_lose_power(disk, durability, &history, seed)),
        _ => {}
    }
}

fn read_then_lose_power(
    disk: &FaultyLayer,
    durability: Durability,
    history: &History,
) -> Result<(), String> {
    let disk = disk.process_crash();
    let seen = check(&disk, durability, history)?.end();
    let kept = check(&disk.total_power_loss(), durability, history)?.end();
    if kept < seen {
        Err(format!("{seen} were served, {kept} are left"))
    } else {
        Ok(())
    }
}

fn append_then_lose_power(
    disk: &FaultyLayer,
    durability: Durability,
    history: &History,
    seed: u64,
) -> Result<(), String> {
    let disk = disk.power_loss(seed);
    let mut log = check(&disk, durability, history)?;
    let added = Bytes::from_static(b"after the crash");
    let offset = log
        .append(std::slice::from_ref(&added))
        .map_err(|error| error.to_string())?;
    log.sync().map_err(|error| error.to_string())?;
    let mut attempted = history.attempted[..offset as usize].to_vec();
    attempted.push(added);
    let (durable, boundaries) = (offset + 1, vec![offset + 1]);
    let history = History {
        attempted,
        boundaries,
        durable,
        released: history.released,
    };
    check(&disk.total_power_loss(), durability, &history).map(drop)
}

/// One life of a log, with a crash after each thing it does to the disk.
fn live(seed: u64, durability: Durability, ignore_syncs: bool, campaign: &Arc<Campaign>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let disk = FaultyLayer::new();
    disk.ignore_syncs(ignore_syncs);
    *campaign.history() = History {
        boundaries: vec![0],
        ..History::default()
    };
    let mut crash_seed = seed << 16;
    let observer = campaign.clone();
    disk.observe(move |state| {
        crash_seed += 1;
        crash(state, durability, crash_seed, &observer);
    });
    let folder = Path::new(FOLDER);
    let mut log = LogFile::open(Arc::new(disk.clone()), folder, options(durability)).unwrap();
    for _ in 0..STEPS {
        let records: Vec<Bytes> = (0..rng.random_range(1..=3))
            .map(|_| content(&mut rng))
            .collect();
        {
            let mut history = campaign.history();
            history.attempted.extend(records.iter().cloned());
            let end = history.attempted.len() as u64;
            history.boundaries.push(end);
        }
        log.append(&records).unwrap();
        if durability == Durability::Lazy && rng.random_bool(0.3) {
            log.sync().unwrap();
        }
        // Whatever the log thinks of itself: this is what it promises.
        if durability == Durability::Synced || !log.is_unsynced() {
            campaign.history().durable = log.end();
        }
        if rng.random_bool(0.2) {
            let released = campaign.history().durable / 2;
            campaign.history().released = released;
            log.trim(released, released).unwrap();
        }
    }
}

/// Lives of these seeds, and how many crashes they had.
fn run(
    seeds: std::ops::Range<u64>,
    durability: Durability,
    ignore_syncs: bool,
) -> (usize, Vec<String>) {
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads = 2;
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let campaign = Arc::new(Campaign::default());
                    for seed in seeds.filter(|seed| seed % threads == thread) {
                        live(seed, durability, ignore_syncs, &campaign);
                    }
                    let violations = campaign.violations.lock().unwrap().clone();
                    (campaign.crashes.load(SeqCst), violations)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    let crashes = outcomes.iter().map(|(crashes, _)| crashes).sum();
    (
        crashes,
        outcomes
            .into_iter()
            .flat_map(|(_, violations)| violations)
            .collect(),
    )
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn seeds() -> u64 {
    std::env::var("FLARE_POWER_LOSS_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(1_000)
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_fails() {
    let (crashes, violations) = run(0..seeds(), Durability::Synced, false);
    assert_eq!(
        violations.first(),
        None,
        "{} of {crashes} crashes",
        violations.len()
    );
    assert!(crashes as u64 >= 30 * seeds(), "only {crashes} crashes");
}

#[test]
fn a_lazily_synced_log_loses_a_suffix_of_what_was_not_synced() {
    let (crashes, violations) = run(0..seeds() / 10, Durability::Lazy, false);
    assert_eq!(
        violations.first(),
        None,
        "{} of {crashes} crashes",
        violations.len()
    );
}

#[test]
fn a_log_that_does_not_sync_is_caught() {
    let (_, violations) = run(0..8, Durability::Synced, true);
    assert!(!violations.is_empty());
}
