//! One process: its configuration, listeners, platform and services, and its life from the first task to the last.
//!
//! Bind every listener → build every service → wait until all are ready → serve → drain on the first signal. A binary of one service is
//! [`main`]; the binary `flare` composes several.

use std::{future::Future, time::Duration};

use self::{signals::Signals, work::Work};
use crate::{
    platform::Platform,
    registry::{Health, Registration},
    service::Task,
    telemetry::Telemetry,
};

mod addresses;
mod arguments;
mod base;
mod binary;
mod configured;
mod edge;
mod error;
mod hosted;
mod inner;
mod listeners;
mod needs;
mod prepare;
mod register;
mod runtime;
mod sign_in;
mod signals;
mod start;
mod work;

pub use self::{
    addresses::Addresses,
    arguments::{ConfigArgs, DataFolder},
    base::{AdapterKind, BaseConfig, PeerConfig, ProcessConfig, RegistryConfig, RegistryKind},
    binary::main,
    configured::Configured,
    edge::{Edge, EdgeError},
    error::RunError,
    hosted::{Audience, Hosted},
    listeners::ListenError,
    prepare::{FolderError, begin, data_folder, load},
    runtime::run_to_end,
    sign_in::DevelopmentSignIn,
    start::{Ground, start},
};

/// A process that is ready and serves.
pub struct Process {
    platform: Platform,
    addresses: Addresses,
    work: Work,
    drain: Duration,
    registration: Registration,
}

impl Process {
    /// Where it answers.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its platform, for what runs beside the services.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Serves until a signal; a second one kills. Spans that wait are sent at the end.
    pub async fn serve_until_signal(self, telemetry: Telemetry) -> Result<(), RunError> {
        let mut signals = Signals::listen().map_err(RunError::Signals)?;
        let ended = {
            let (first, second) = signals.both();
            self.serve(first, second).await
        };
        if let Err(error) = tokio::task::spawn_blocking(move || telemetry.flush()).await {
            tracing::warn!(%error, "spans that waited were not sent");
        }
        ended
    }

    /// Serves until `first` resolves, then drains; `second` during the drain kills.
    pub async fn serve(
        mut self,
        first: impl Future<Output = ()>,
        second: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        tokio::select! {
            () = first => {}
            () = self.platform.shutdown.draining() => {}
            ended = self.work.failed() => return Err(ended),
            reason = self.platform.shutdown.failed() => return Err(RunError::Fatal(reason)),
        }
        tracing::info!(deadline = ?self.drain, "draining");
        // Nobody sends anything new to one that is known to end.
        if let Err(error) = self.registration.say(Health::Draining).await {
            tracing::warn!(%error, "draining all the same");
        }
        self.platform.shutdown.drain();
        let (work, platform) = (&mut self.work, &self.platform);
        let drained = async {
            while let Some(ended) = work.next().await {
                ended?;
            }
            for Task { name, run } in platform.endings() {
                run.await
                    .map_err(|source| RunError::Task { task: name, source })?;
            }
            let closed = platform.close_adapters().await;
            closed.map_err(|source| RunError::Task {
                task: "adapters.close",
                source,
            })
        };
        let ended = tokio::select! {
            done = tokio::time::timeout(self.drain, drained) => done.ok(),
            () = second => Some(Err(RunError::Killed)),
            reason = self.platform.shutdown.failed() => Some(Err(RunError::Fatal(reason))),
        };
        let Self {
            registration, work, ..
        } = self;
        registration.leave().await;
        ended.unwrap_or_else(|| {
            Err(RunError::DrainTimeout {
                after: self.drain,
                tasks: work.running,
            })
        })
    }
}
