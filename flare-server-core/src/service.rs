//! What a service is to the process that runs it.

use std::{future::Future, pin::Pin};

use tonic::service::Routes;

/// Why a service could not be built, or why a task of it ended the process.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

/// A service's answer to `build(config, platform)`.
#[derive(Default)]
pub struct Parts {
    /// Its gRPC services, for this process's other services and for the inner listener.
    pub routes: Vec<Routes>,
    /// The registry names of what `routes` serves.
    pub services: Vec<&'static str>,
    /// Work that begins when every service is built.
    pub tasks: Vec<Task>,
    /// Listeners' loops, which begin when the process is ready.
    pub edges: Vec<Task>,
}

/// A long-running piece of work. It ends when the platform's shutdown drains; an error ends the process.
pub struct Task {
    /// For logs: `<service>.<work>`.
    pub name: &'static str,
    /// The work.
    pub run: Pin<Box<dyn Future<Output = Result<(), ServiceError>> + Send>>,
}

impl Task {
    /// Names a piece of work.
    pub fn new(
        name: &'static str,
        run: impl Future<Output = Result<(), ServiceError>> + Send + 'static,
    ) -> Self {
        Self {
            name,
            run: Box::pin(run),
        }
    }
}
