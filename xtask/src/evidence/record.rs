//! What one step has found, kept so that a run can be taken up again.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::machine::Machine;

/// One step's figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) step: String,
    pub(super) machine: Machine,
    pub(super) seconds: u64,
    /// Why it failed; None: it is as promised.
    pub(super) failed: Option<String>,
    pub(super) data: Value,
}

impl Record {
    pub(super) fn new(
        step: &str,
        machine: &Machine,
        seconds: u64,
        outcome: anyhow::Result<Value>,
    ) -> Self {
        let (failed, data) = match outcome {
            Ok(data) => (None, data),
            Err(error) => (Some(format!("{error:#}")), Value::Null),
        };
        Self {
            step: step.to_owned(),
            machine: machine.clone(),
            seconds,
            failed,
            data,
        }
    }

    /// Whether it is of this commit and this machine.
    pub(super) fn is_of(&self, machine: &Machine) -> bool {
        self.machine == *machine
    }

    pub(super) fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        // One of an earlier shape is made again.
        Ok(serde_json::from_slice(&text).ok())
    }

    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        fs::write(file, serde_json::to_vec_pretty(self)?)
            .with_context(|| file.display().to_string())
    }
}
