//! Everything at once, by chance: crashes, partitions of two at a time, unknown outcomes, pauses.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    judge::{all_is_published, first_times_are_in_order, store_is_the_fold},
    process::{Ground, PARTITIONS, Process},
    talk::Talk,
};

const PROCESSES: usize = 3;
const STEPS: usize = 150;

#[tokio::test]
async fn whatever_happens_each_event_is_published_in_order_and_the_store_is_the_fold() {
    futures::future::join_all((0..8).map(storm)).await;
}

async fn storm(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (ground, mut talk) = Ground::new();
    let mut processes: Vec<_> = (0..PROCESSES)
        .map(|_| Process::start(&ground, &[]))
        .collect();
    for _ in 0..STEPS {
        say(&mut rng, &mut talk);
        let index = rng.random_range(0..PROCESSES);
        match rng.random_range(0..20) {
            0 | 1 => {
                let process = std::mem::replace(
                    &mut processes[index],
                    Process::start(&ground, &some(&mut rng)),
                );
                process.crash().await;
            }
            2..6 => processes[index].assign(&some(&mut rng)),
            6..8 => {
                let after = rng.random_range(0..6);
                *processes[index].bus.break_after.lock().unwrap() = Some(after);
            }
            8..10 => {
                let held = rng.random_bool(0.5);
                processes[index].bus.held.send_replace(held);
            }
            10 => {
                let down = rng.random_bool(0.3);
                ground.cursors.down.send_replace(down);
            }
            11 => {
                let down = rng.random_bool(0.3);
                processes[index].store.down.send_replace(down);
            }
            _ => {}
        }
        for _ in 0..rng.random_range(0..30) {
            tokio::task::yield_now().await;
        }
    }
    ground.cursors.down.send_replace(false);
    for process in &processes {
        process.bus.held.send_replace(false);
        process.store.down.send_replace(false);
    }
    let all: Vec<_> = (0..PARTITIONS).collect();
    processes[0].assign(&all);
    all_is_published(&ground, &talk).await;
    for process in processes {
        process.drain().await;
    }
    first_times_are_in_order(&ground, &talk);
    store_is_the_fold(&ground).await;
}

fn say(rng: &mut StdRng, talk: &mut Talk) {
    for _ in 0..rng.random_range(0..5) {
        let conversation = format!("g{}", rng.random_range(0..25));
        talk.say(&conversation, rng.random_range(1..4));
    }
    let partition = rng.random_range(0..PARTITIONS);
    match rng.random_range(0..10) {
        0 => talk.take_over(partition),
        1 => talk.land_late(partition, 0),
        _ => {}
    }
}

/// Partitions for a process; others may have the same.
fn some(rng: &mut StdRng) -> Vec<u32> {
    let share = *[0.0, 0.5, 1.0].choose(rng).unwrap_or(&1.0);
    (0..PARTITIONS).filter(|_| rng.random_bool(share)).collect()
}
