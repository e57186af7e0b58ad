//! Processes of other commands: which they are, how they fare, and signals to them.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, bail};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

/// A process, told from a later one that has got its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// When it began, in ticks since the machine did: field 22 of /proc/PID/stat.
    pub(super) start_time: u64,
}

/// How a process fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Runs,
    /// By SIGSTOP.
    Paused,
    Ended,
}

/// What is read of /proc/PID/stat.
struct Stat {
    state: char,
    parent: i32,
    start_time: u64,
}

impl Identity {
    /// That of a process that has just been started.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let pid = i32::try_from(pid).context("a pid beyond all bounds")?;
        let stat = Stat::of(pid).with_context(|| format!("no process {pid}"))?;
        Ok(Self {
            pid,
            start_time: stat.start_time,
        })
    }

    /// What has ended and is not yet waited for has ended.
    pub(super) fn condition(self) -> Condition {
        match Stat::of(self.pid) {
            Some(stat) if stat.start_time == self.start_time => match stat.state {
                'Z' | 'X' => Condition::Ended,
                'T' => Condition::Paused,
                _ => Condition::Runs,
            },
            _ => Condition::Ended,
        }
    }

    pub(super) fn has_ended(self) -> bool {
        self.condition() == Condition::Ended
    }

    /// Sends a signal; to one that has ended, none.
    pub(super) fn signal(self, signal: Signal) -> anyhow::Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.pid).context("a pid of nought")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => bail!("no signal to process {}: {error}", self.pid),
        }
    }
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name before may have brackets and blanks of its own.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Which boot of the machine this is: start times mean nothing to another.
pub(super) fn boot() -> anyhow::Result<String> {
    let file = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(file).context(file)?.trim().to_owned())
}

/// Who descends from whom.
pub(super) struct Family(BTreeMap<i32, Vec<i32>>);

impl Family {
    /// Of all processes.
    pub(super) fn look() -> anyhow::Result<Self> {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|it| it.parse().ok());
            // A process may end while we look.
            if let Some((pid, stat)) = pid.and_then(|it| Some((it, Stat::of(it)?))) {
                children.entry(stat.parent).or_default().push(pid);
            }
        }
        Ok(Self(children))
    }

    /// The descendants of a process, as far as they have not ended.
    pub(super) fn descendants(&self, pid: i32) -> Vec<Identity> {
        let children = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        let own = children.iter().filter_map(|it| {
            let start_time = Stat::of(*it)?.start_time;
            Some(Identity {
                pid: *it,
                start_time,
            })
        });
        let theirs = children.iter().flat_map(|it| self.descendants(*it));
        own.chain(theirs).collect()
    }

    /// Memory of a process and its descendants, in bytes; of what they share, each its part.
    pub(super) fn memory_bytes(&self, pid: i32) -> u64 {
        let children = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        let theirs: u64 = children.iter().map(|it| self.memory_bytes(*it)).sum();
        own_memory_bytes(pid) + theirs
    }
}

fn own_memory_bytes(pid: i32) -> u64 {
    // Of another user's process only the resident memory is told.
    [("smaps_rollup", "Pss:"), ("status", "VmRSS:")]
        .into_iter()
        .find_map(|(file, name)| {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
            let line = text.lines().find_map(|it| it.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib << 10)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Command, Stdio},
        time::Duration,
    };

    use super::*;
    use crate::infra::wait;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_mislead() {
        let fields: Vec<String> = (4..=30).map(|it| it.to_string()).collect();
        let text = format!("7 (a) R 1 (b) T {}\n", fields.join(" "));
        let stat = Stat::read(&text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.start_time), ('T', 4, 22));
        assert!(Stat::read("7 (short) R 1").is_none());
    }

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert_eq!(identity.condition(), Condition::Runs);
        assert!(Family::look().unwrap().memory_bytes(identity.pid) > 0);

        let former = Identity {
            start_time: identity.start_time - 1,
            ..identity
        };
        assert_eq!(former.condition(), Condition::Ended);
        former.signal(Signal::KILL).unwrap();
        assert_eq!(identity.condition(), Condition::Runs);

        let becomes = |wanted| {
            wait::until(Duration::from_secs(30), || {
                (identity.condition() == wanted).then_some(())
            })
        };
        identity.signal(Signal::STOP).unwrap();
        becomes(Condition::Paused).unwrap();
        identity.signal(Signal::KILL).unwrap();
        // It has not been waited for, and has ended nevertheless.
        becomes(Condition::Ended).unwrap();
        child.wait().unwrap();
        assert_eq!(identity.condition(), Condition::Ended);
        identity.signal(Signal::TERM).unwrap();
    }
}
