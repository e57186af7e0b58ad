//! SIGINT and SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, counted.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    again_interrupt: Signal,
    again_terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            again_interrupt: signal(SignalKind::interrupt())?,
            again_terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves with the first signal, and with the second.
    pub(super) fn both(&mut self) -> (impl Future<Output = ()>, impl Future<Output = ()>) {
        let Self {
            interrupt,
            terminate,
            again_interrupt,
            again_terminate,
        } = self;
        let first = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let second = async {
            // Each listener hears every signal: the first is not the second.
            for _ in 0..2 {
                tokio::select! {
                    _ = again_interrupt.recv() => {}
                    _ = again_terminate.recv() => {}
                }
            }
        };
        (first, second)
    }
}
