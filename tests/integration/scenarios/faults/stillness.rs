//! A process that stands still for longer than every lease, and wakes up.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep_until, timeout};

use crate::scene::Scene;

/// Longer than the leases of the log's and the stream's groups (10 s), of the registry (10 s) and of presence (15 s).
const LONGER_THAN_LEASES: Duration = Duration::from_millis(16_500);
/// One that runs says how it is within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// What every process has.
const METRIC: &[&str] = &["process_resident_memory_bytes"];

/// A process that was stopped.
pub(super) struct Stillness<'a> {
    scene: &'a Scene,
    process: &'a str,
    since: Instant,
}

impl<'a> Stillness<'a> {
    /// Stops it (SIGSTOP).
    pub(super) async fn begins(scene: &'a Scene, process: &'a str) -> anyhow::Result<Self> {
        scene.server.signal_to(process, "STOP").await?;
        Ok(Self {
            scene,
            process,
            since: Instant::now(),
        })
    }

    /// Waits until all its leases are over, and demands that it said nothing meanwhile.
    pub(super) async fn outlasts_leases(&self) -> anyhow::Result<()> {
        let answer = self.scene.server.metric_at(self.process, METRIC);
        ensure!(
            timeout(ANSWERS_WITHIN, answer).await.is_err(),
            "{} was stopped, and answers",
            self.process
        );
        sleep_until(self.since + LONGER_THAN_LEASES).await;
        Ok(())
    }

    /// It goes on (SIGCONT) as if nothing had been; for how long it stood.
    pub(super) async fn ends(self) -> anyhow::Result<Duration> {
        self.scene.server.signal_to(self.process, "CONT").await?;
        Ok(self.since.elapsed())
    }
}
