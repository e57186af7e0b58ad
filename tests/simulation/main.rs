//! The owner with storage-writer, simulated: the very types that ship, driven by a seed through an adversarial log, crashes, lost answers and clock
//! jumps, and judged by the history checker.
//!
//! `FLARE_SIMULATION_SEEDS=N` runs so many seeds instead of 2,000; `FLARE_SIMULATION_SEED=S` replays one.

mod clients;
mod log;
mod store;
mod world;

use flare_checker::Counts;

use self::world::{Faults, World};

const SEEDS: u64 = 2_000;
/// Turns before the faults stop and everything is let come to rest.
const TURNS: u32 = 1_000;

#[expect(
    clippy::disallowed_methods,
    reason = "the one way to give a test run an argument"
)]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(owners: usize, seed: u64) -> Counts {
    let mut world = World::new(seed, owners, Faults::ALL);
    for _ in 0..TURNS {
        world.turn();
    }
    world.rest();
    let verdict = world.verdict();
    assert!(
        verdict.is_kept(),
        "seed {seed} with {owners} owners: {verdict}"
    );
    verdict.counts
}

fn campaign(owners: usize) {
    if let Some(seed) = number("FLARE_SIMULATION_SEED") {
        run(owners, seed);
        return;
    }
    let seeds = number("FLARE_SIMULATION_SEEDS").unwrap_or(SEEDS) / 2;
    let mut total = [0u64; 5];
    for seed in 0..seeds {
        let counts = run(owners, seed);
        let these = [
            counts.acks,
            counts.retries,
            counts.duplicates,
            counts.refusals,
            counts.takeovers,
        ];
        for (sum, count) in total.iter_mut().zip(these) {
            *sum += count;
        }
    }
    // A campaign in which the faults did not bite proves nothing.
    let names = ["acks", "retries", "duplicates", "refusals", "takeovers"];
    let least = [20, 5, 2, 1, 1].map(|it| it * seeds);
    for ((name, sum), least) in names.into_iter().zip(total).zip(least) {
        assert!(
            sum >= least,
            "only {sum} {name} in {seeds} seeds with {owners} owners"
        );
    }
}

#[test]
fn one_owner_keeps_the_promises() {
    campaign(1);
}

#[test]
fn two_owners_who_both_believe_keep_the_promises() {
    campaign(2);
}

#[test]
fn a_seed_replays_to_the_same_history() {
    let history = |seed| {
        let mut world = World::new(seed, 2, Faults::ALL);
        for _ in 0..TURNS {
            world.turn();
        }
        world.rest();
        world.history().clone()
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
