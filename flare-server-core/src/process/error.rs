//! Why a process did not start, or ended.

use std::time::Duration;

use super::{EdgeError, ListenError};
use crate::service::ServiceError;

/// Why a process did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Signals cannot be heard.
    #[error("signals: {0}")]
    Signals(std::io::Error),
    /// A service could not be built.
    #[error("{service} could not start: {source}")]
    Build {
        /// The service.
        service: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// What answers clients and business backends could not be opened.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// A part of the platform could not be made.
    #[error("{what}: {source}")]
    Platform {
        /// Which.
        what: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// A task ended the process.
    #[error("{task} failed: {source}")]
    Task {
        /// Which.
        task: &'static str,
        /// Why.
        source: ServiceError,
    },
    /// What the process holds in memory can no longer be trusted.
    #[error("{0}")]
    Fatal(String),
    /// The drain took longer than its deadline.
    #[error("drain was not done after {after:?}: {} still ran", tasks.join(", "))]
    DrainTimeout {
        /// The deadline.
        after: Duration,
        /// What had not ended.
        tasks: Vec<&'static str>,
    },
    /// A second signal came during the drain.
    #[error("killed by a second signal during the drain")]
    Killed,
}
