//! What a server refused and will take later: when it says so, and how often it did.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{bail, ensure};
use flare_proto::common::{Error, ErrorCode};
use flare_server_core::error::is_retryable;
use serde::Serialize;

/// For so long one waits whom the server does not tell how long.
const PAUSE: Duration = Duration::from_millis(100);

/// What a sender does about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It ends the measurement: a server that refuses is not measured, its limit is.
    Strict,
    /// He waits as long as he was told, and sends the same again. A receiver who is told to sync does so.
    Obedient,
}

/// Refusals of a whole step, from the first connection to the last receipt.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Refusals {
    /// Sends, those that came again included.
    pub(super) sends: u64,
    #[serde(rename = "refused_by_code")]
    pub(super) by_code: BTreeMap<&'static str, u64>,
    pub(super) retry_after_ms_min: Option<u64>,
    pub(super) retry_after_ms_max: Option<u64>,
}

impl Refusals {
    /// Takes a refusal in; how long its sender has to wait.
    ///
    /// # Errors
    /// What is refused for good; what is refused for want of room, or for haste, without a time to come again.
    pub(super) fn take(&mut self, error: &Error) -> anyhow::Result<Duration> {
        let (code, name) = (error.code(), error.code().as_str_name());
        if !is_retryable(code) {
            bail!(told(error));
        }
        *self.by_code.entry(name).or_default() += 1;
        let Some(ms) = u64::try_from(error.retry_after_ms)
            .ok()
            .filter(|it| *it > 0)
        else {
            ensure!(
                !matches!(code, ErrorCode::RateLimited | ErrorCode::ResourceExhausted),
                "{name} without a time to come again: {}",
                error.message
            );
            return Ok(match code {
                // Whoever it is behind was told how long.
                ErrorCode::RetryInOrder => Duration::ZERO,
                _ => PAUSE,
            });
        };
        self.seen(Some(ms), Some(ms));
        Ok(Duration::from_millis(ms))
    }

    fn seen(&mut self, min: Option<u64>, max: Option<u64>) {
        self.retry_after_ms_min = self.retry_after_ms_min.into_iter().chain(min).min();
        self.retry_after_ms_max = self.retry_after_ms_max.max(max);
    }

    /// Adds those of another connection.
    pub(super) fn add(&mut self, other: &Self) {
        self.sends += other.sends;
        for (code, count) in &other.by_code {
            *self.by_code.entry(code).or_default() += count;
        }
        self.seen(other.retry_after_ms_min, other.retry_after_ms_max);
    }

    /// The share of sends that was refused.
    pub(super) fn share(&self) -> f64 {
        let refused: u64 = self.by_code.values().sum();
        refused as f64 / self.sends.max(1) as f64
    }
}

/// A refusal, for people.
pub(super) fn told(error: &Error) -> String {
    let advice = match error.code() {
        ErrorCode::RateLimited => {
            ": measure with more pairs, or start the server with --set message_orchestrator.rate.user_per_s=0 \
             --set message_orchestrator.rate.conversation_per_s=0 --set access_gateway.frames_per_s=1000000"
        }
        _ => "",
    };
    format!(
        "the server refuses a message, {}: {}{advice}",
        error.code().as_str_name(),
        error.message
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: ErrorCode, retry_after_ms: i64) -> Error {
        Error {
            code: code.into(),
            retry_after_ms,
            ..Error::default()
        }
    }

    #[test]
    fn the_time_to_come_again_is_obeyed_and_demanded() -> anyhow::Result<()> {
        let mut one = Refusals {
            sends: 8,
            ..Refusals::default()
        };
        let limited = error(ErrorCode::RateLimited, 250);
        assert_eq!(one.take(&limited)?, Duration::from_millis(250));
        assert_eq!(
            one.take(&error(ErrorCode::RetryInOrder, 0))?,
            Duration::ZERO
        );
        assert!(one.take(&error(ErrorCode::ResourceExhausted, 0)).is_err());
        assert!(one.take(&error(ErrorCode::NotAMember, 250)).is_err());

        let mut all = Refusals::default();
        all.take(&error(ErrorCode::Unavailable, 500))?;
        all.add(&one);
        assert_eq!(all.retry_after_ms_min, Some(250));
        assert_eq!(all.retry_after_ms_max, Some(500));
        assert_eq!(all.by_code["RATE_LIMITED"], 1);
        assert!(all.share() > 0.0);
        Ok(())
    }
}
