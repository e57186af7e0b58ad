//! How many groups a process makes.

use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Interval, MissedTickBehavior, interval},
};

/// The turns of all partitions' groups. A group costs log, store and each consumer about the same, whatever is in it: where many are made of few
/// commands each, that is what keeps a machine busy. With no more than so many a second, commands wait a little, and share them.
pub struct Turns(Option<Mutex<Interval>>);

impl Turns {
    /// So many a second; 0: as many as there are.
    pub fn new(per_second: u32) -> Self {
        Self((per_second > 0).then(|| {
            let mut interval = interval(Duration::from_secs(1) / per_second);
            // Whoever comes late has his turn at once, and what nobody took is not made up for.
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(interval)
        }))
    }

    /// Waits for a turn. Who asks first has it first; nothing runs while nobody asks.
    pub async fn next(&self) {
        if let Some(interval) = &self.0 {
            interval.lock().await.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_partitions_together_have_so_many_a_second() {
        let turns = Turns::new(100);
        let begun = Instant::now();
        join_all((0..200).map(|_| turns.next())).await;
        let took = begun.elapsed();
        assert!((1_980..2_010).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_the_first_comes_at_once_and_none_is_made_up_for() {
        let turns = Turns::new(100);
        turns.next().await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        turns.next().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        join_all((0..10).map(|_| turns.next())).await;
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        let turns = Turns::new(0);
        let begun = Instant::now();
        join_all((0..10_000).map(|_| turns.next())).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
