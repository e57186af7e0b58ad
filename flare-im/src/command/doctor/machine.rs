//! The machine: open files, and the clock.

use std::{
    path::Path,
    time::{Duration, Instant, UNIX_EPOCH},
};

use flare_server_core::clock::{Clock, SystemClock};
use rlimit::Resource;

use super::Finding;
use crate::config::Config;

/// Files and sockets that a process needs beside its clients' connections.
const OTHER_FILES: u64 = 1_000;
/// How long the clock is watched.
const WATCHED: Duration = Duration::from_millis(300);
/// So much a clock may differ from one that only goes forward.
const STEP: Duration = Duration::from_millis(50);
/// 2025-01-01: no build is older.
const OLDEST_MS: i64 = 1_735_689_600_000;

/// Whether as many clients may connect as the configuration says.
pub(super) fn open_files(config: &Config) -> Finding {
    const CHECK: &str = "open files";
    let hard = match Resource::NOFILE.get() {
        Ok((_, hard)) => hard,
        Err(error) => {
            let what = format!("nobody says how many may be open: {error}");
            return Finding::warning(CHECK, what, "try `ulimit -Hn`");
        }
    };
    let usable = hard.min(config.base.process.open_files);
    let wanted = config.services.access_gateway.max_connections as u64 + OTHER_FILES;
    let what = format!(
        "{usable} may be open (hard limit {hard}, process.open_files {}), {wanted} are wanted for access_gateway.max_connections",
        config.base.process.open_files
    );
    if usable < wanted {
        let advice = "raise the hard limit (`LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a container) and process.open_files, or lower max_connections: the last clients would not get in";
        Finding::warning(CHECK, what, advice)
    } else {
        Finding::ok(CHECK, what)
    }
}

/// Whether the clock is right, as far as a machine can tell by itself.
pub(super) fn clock(folder: &Path) -> Finding {
    const CHECK: &str = "clock";
    const ADVICE: &str = "let a time service run (chrony, systemd-timesyncd) that slews instead of stepping: tokens, client ids and message times go by this clock";
    let (wall, steady) = (SystemClock.now_ms(), Instant::now());
    #[expect(
        clippy::disallowed_methods,
        reason = "on a thread for blocking work: there is nothing to wait for but time"
    )]
    std::thread::sleep(WATCHED);
    let elapsed_ms = i64::try_from(steady.elapsed().as_millis()).unwrap_or(i64::MAX);
    let now_ms = SystemClock.now_ms();
    let off_ms = (now_ms - wall - elapsed_ms).unsigned_abs();
    if now_ms < OLDEST_MS {
        let what = "it stands before the year 2025".to_owned();
        return Finding::problem(CHECK, what, ADVICE);
    }
    if let Some(ahead) = newest_ms(folder)
        .map(|it| it - now_ms)
        .filter(|it| *it > 2_000)
    {
        let what = format!(
            "it is {} s behind the newest file in {}",
            ahead / 1_000,
            folder.display()
        );
        return Finding::warning(CHECK, what, ADVICE);
    }
    if off_ms > STEP.as_millis() as u64 {
        let what = format!("it moved by {off_ms} ms while {} ms passed", elapsed_ms);
        return Finding::warning(CHECK, what, ADVICE);
    }
    Finding::ok(
        CHECK,
        "it goes evenly, and no file is ahead of it; whether it is right only a time service knows",
    )
}

/// When something in the folder was last changed. Unix milliseconds.
fn newest_ms(folder: &Path) -> Option<i64> {
    let changed = |path: &Path| {
        let at = std::fs::metadata(path).ok()?.modified().ok()?;
        let since = at.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    };
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| changed(&entry.ok()?.path()))
        .max()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;
    use crate::command::doctor::Level;

    #[test]
    fn a_file_from_the_future_says_that_the_clock_was_set_back() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(clock(folder.path()).level, Level::Ok);
        let file = File::create(folder.path().join("later")).expect("made");
        #[expect(clippy::disallowed_methods, reason = "a time that a file bears")]
        let later = SystemTime::now() + Duration::from_secs(3_600);
        file.set_modified(later).expect("set");
        let found = clock(folder.path());
        assert_eq!(found.level, Level::Warning);
        assert!(found.what.contains("behind"), "{found:?}");
    }

    #[test]
    fn fewer_files_than_connections_are_too_few() {
        let mut config = Config::default();
        config.services.access_gateway.max_connections = 1;
        config.base.process.open_files = OTHER_FILES;
        assert_eq!(open_files(&config).level, Level::Warning);
        config.services.access_gateway.max_connections = 0;
        config.base.process.open_files = OTHER_FILES;
        let (_, hard) = Resource::NOFILE.get().expect("told");
        let level = if hard >= OTHER_FILES {
            Level::Ok
        } else {
            Level::Warning
        };
        assert_eq!(open_files(&config).level, level);
    }
}
