//! What a fault did to those who write.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

/// From the fault until all was well again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// Receipts meanwhile.
    pub(super) acked: u64,
    /// The longest time in which some writer had none.
    pub(super) silence: Duration,
    /// Commands that left again.
    pub(super) resent: u64,
    /// Refusals after which a command was tried again.
    pub(super) refused: u64,
}

/// A line of what `--json` keeps of faults.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    scenario: &'a str,
    fault: &'a str,
    /// What showed that the fault was there.
    bit: &'a str,
    acked: u64,
    silence_ms: u64,
    resent: u64,
    refused: u64,
}

impl Outage {
    /// Demands that nobody waited longer than that.
    pub(super) fn demand(&self, longest: Duration) -> anyhow::Result<()> {
        ensure!(
            self.silence <= longest,
            "somebody had no receipt for longer than {longest:?}: {self:?}"
        );
        Ok(())
    }

    /// In a line, of this `fault` of a `scenario`, which was seen by what it `bit`.
    pub(super) fn line<'a>(&self, scenario: &'a str, fault: &'a str, bit: &'a str) -> Line<'a> {
        Line {
            scenario,
            fault,
            bit,
            acked: self.acked,
            silence_ms: u64::try_from(self.silence.as_millis()).unwrap_or(u64::MAX),
            resent: self.resent,
            refused: self.refused,
        }
    }
}
