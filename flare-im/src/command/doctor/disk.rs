//! The disk under the data folder: how long a sync takes, and how much room there is.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use flare_server_core::{
    embedded::EmbeddedLogConfig,
    log_file::{DiskLayer, FileLayer},
};

use super::Finding;

/// Syncs that are timed, at most, and for how long.
const SYNCS: usize = 200;
const LONGEST: Duration = Duration::from_secs(2);
/// What is written before each: about a small group of messages.
const BYTES: usize = 4_096;
/// No disk is faster: what returns sooner is in memory.
const TOO_FAST: Duration = Duration::from_micros(15);
/// A sync that takes longer is what senders wait for.
const SLOW: Duration = Duration::from_millis(10);

/// Times what stands between a message and its ack.
pub(super) fn sync_speed(folder: &Path) -> Option<Finding> {
    const CHECK: &str = "disk sync";
    let times = match time_syncs(folder) {
        Ok(times) => times,
        Err(error) => {
            return Some(Finding::problem(
                CHECK,
                format!("a file in {} cannot be synced: {error}", folder.display()),
                "use a file system that syncs: nothing is acked before that",
            ));
        }
    };
    let (median, worst) = (times.get(times.len() / 2)?, times.last()?);
    let what = format!(
        "{:.3} ms in the median, {:.3} ms at worst, of {} writes of {BYTES} bytes",
        median.as_secs_f64() * 1_000.0,
        worst.as_secs_f64() * 1_000.0,
        times.len()
    );
    Some(if *median < TOO_FAST {
        let advice = "no disk is as fast: on a file system in memory, or a disk that does not sync, acked messages do not survive a power loss";
        Finding::warning(CHECK, what, advice)
    } else if *median > SLOW {
        let advice = "each ack waits for one sync: use a local SSD, not a network file system";
        Finding::warning(CHECK, what, advice)
    } else {
        Finding::ok(CHECK, what)
    })
}

/// Rising.
fn time_syncs(folder: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(folder)?;
    let bytes = [0x5a; BYTES];
    let begun = Instant::now();
    let mut times = Vec::with_capacity(SYNCS);
    while times.len() < SYNCS && begun.elapsed() < LONGEST {
        file.write_all(&bytes)?;
        let asked = Instant::now();
        file.sync_data()?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Whether the log would take messages.
pub(super) fn room(folder: &Path, log: &EmbeddedLogConfig) -> Finding {
    const CHECK: &str = "free room";
    const MIB: u64 = 1 << 20;
    let free = match DiskLayer.free_bytes(folder) {
        Ok(free) => free,
        Err(error) => {
            let what = format!(
                "nobody says how much is free in {}: {error}",
                folder.display()
            );
            return Finding::warning(CHECK, what, "watch the room yourself");
        }
    };
    let min = log.min_free_bytes;
    let what = format!("{} MiB", free / MIB);
    let advice = format!(
        "free some, or move the data folder: below {} MiB (log.min_free_bytes) sends are refused, and taken again above twice that",
        min / MIB
    );
    if free < min {
        Finding::problem(CHECK, what, advice)
    } else if free < min.saturating_mul(2) {
        Finding::warning(CHECK, what, advice)
    } else {
        Finding::ok(CHECK, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::Level;

    #[test]
    fn room_is_judged_by_what_the_log_wants() {
        let folder = tempfile::tempdir().expect("a folder");
        let free = DiskLayer.free_bytes(folder.path()).expect("told");
        for (min_free_bytes, level) in [
            (0, Level::Ok),
            (free / 10 * 9, Level::Warning),
            (u64::MAX, Level::Problem),
        ] {
            let log = EmbeddedLogConfig {
                min_free_bytes,
                ..EmbeddedLogConfig::default()
            };
            let found = room(folder.path(), &log);
            assert_eq!(found.level, level, "{found:?}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_cannot_be_synced() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = sync_speed(folder.path()).expect("a finding");
        assert_ne!(found.level, Level::Problem, "{found:?}");
        let gone = folder.path().join("gone");
        let found = sync_speed(&gone).expect("a finding");
        assert_eq!(found.level, Level::Problem);
    }
}
