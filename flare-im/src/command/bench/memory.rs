//! What memory a server takes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::task::JoinHandle;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Resident memory of a process, as Linux counts it.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let file = PathBuf::from(format!("/proc/{pid}/status"));
    let status = std::fs::read_to_string(&file)
        .with_context(|| format!("process {pid}: its memory is not to be seen"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("the process has no resident memory")?;
    Ok(kib.parse::<u64>()? * 1_024)
}

/// Looks at a process's memory until it is dropped.
pub(super) struct Watch {
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(pid: u32) -> anyhow::Result<Self> {
        let peak = Arc::new(AtomicU64::new(resident_bytes(pid)?));
        let seen = Arc::clone(&peak);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                // A process that has ended is noticed by those who are connected to it.
                let Ok(bytes) = resident_bytes(pid) else {
                    return;
                };
                seen.fetch_max(bytes, Ordering::Relaxed);
            }
        });
        Ok(Self { peak, task })
    }

    /// The most that was seen.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
