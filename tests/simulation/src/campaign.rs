//! Lives by seeds, judged, and many of them at once.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use flare_checker::Record;

use crate::{faults::Bites, world::World};

/// Turns before the faults stop and everything is let come to rest.
const TURNS: u32 = 1_000;

/// One seed's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// What decides everything.
    pub seed: u64,
    /// Processes that may believe to own the partition.
    pub owners: usize,
}

/// A life in which a promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub life: Life,
    /// In which turn it was seen; after the last one, everything was at rest.
    pub turn: u32,
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Life { seed, owners } = self.life;
        write!(
            f,
            "seed {seed} with {owners} owners, turn {}: {}\n\
             again: cargo run -p flare-simulation -- --seed {seed} --owners {owners} --trace",
            self.turn, self.what
        )
    }
}

impl Life {
    /// Lives it, and gives what bit.
    pub fn run(self) -> Result<Bites, Failure> {
        self.live(&mut self.world(false))
    }

    /// Lives it, and gives what happened as well, line by line.
    pub fn traced(self) -> (Result<Bites, Failure>, Vec<String>) {
        let mut world = self.world(true);
        let outcome = self.live(&mut world);
        (outcome, world.trace().to_vec())
    }

    /// Lives it, and gives what its users wrote down.
    pub fn history(self) -> Vec<Record> {
        let mut world = self.world(false);
        // Whatever became of it, this is what was seen.
        let _ = self.live(&mut world);
        world.history().to_vec()
    }

    fn world(self, traced: bool) -> World {
        World::new(self.seed, self.owners, traced)
    }

    fn live(self, world: &mut World) -> Result<Bites, Failure> {
        let failed = |turn, what: &str| Failure {
            life: self,
            turn,
            what: what.to_owned(),
        };
        for turn in 0..TURNS {
            world.turn();
            if let Some(what) = world.broken() {
                return Err(failed(turn, what));
            }
        }
        world.rest();
        if let Some(what) = world.broken() {
            return Err(failed(TURNS, what));
        }
        let verdict = world.verdict();
        if verdict.is_kept() {
            Ok(world.bites)
        } else {
            Err(failed(TURNS, &verdict.to_string()))
        }
    }
}

/// Many lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Owners of each.
    pub owners: usize,
    /// How many live at once.
    pub threads: usize,
}

/// What became of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Lives that were lived.
    pub lives: u64,
    /// What bit in all of them together.
    pub bites: Bites,
    /// The failure with the lowest seed of those that were seen before the campaign stopped.
    pub failure: Option<Failure>,
}

impl Campaign {
    /// Lives them all, or until one fails. `told` hears now and then how many there were.
    pub fn run(self, told: impl Fn(u64) + Sync) -> Report {
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            let mut mine = Report {
                lives: 0,
                bites: Bites::default(),
                failure: None,
            };
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.seeds {
                    break;
                }
                let life = Life {
                    seed: self.from + index,
                    owners: self.owners,
                };
                mine.lives += 1;
                match life.run() {
                    Ok(bites) => mine.bites.add(&bites),
                    Err(failure) => {
                        mine.failure = Some(failure);
                        failed.store(true, Ordering::Relaxed);
                    }
                }
                told(index + 1);
            }
            mine
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads.max(1))
                .map(|_| scope.spawn(work))
                .collect();
            let mut whole = Report {
                lives: 0,
                bites: Bites::default(),
                failure: None,
            };
            for worker in workers {
                let Ok(mine) = worker.join() else {
                    panic!("a life has panicked: its message stands above");
                };
                whole.lives += mine.lives;
                whole.bites.add(&mine.bites);
                whole.failure = match (whole.failure.take(), mine.failure) {
                    (Some(one), Some(other)) if other.life.seed < one.life.seed => Some(other),
                    (one, other) => one.or(other),
                };
            }
            whole
        })
    }
}
