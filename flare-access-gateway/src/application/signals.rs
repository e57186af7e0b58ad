//! Passes on what is stored nowhere, gathered from all connections.

use std::sync::Arc;

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ports::{Signals, Typing};

/// Signals in one call.
const BATCH: usize = 256;

/// The way to the passing on. Clones share it.
#[derive(Clone)]
pub struct SignalsHandle {
    queue: mpsc::Sender<Typing>,
}

impl SignalsHandle {
    /// Takes a signal.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: too many wait.
    pub fn pass_on(&self, signal: Typing) -> Result<(), Refusal> {
        self.queue.try_send(signal).map_err(|_| {
            Refusal::new(
                ErrorCode::ResourceExhausted,
                "too many signals are on their way",
            )
        })
    }
}

/// A queue of at most `queue` signals, and the task that empties it until `closed`.
pub fn signals(
    port: Arc<dyn Signals>,
    queue: usize,
    closed: CancellationToken,
) -> (SignalsHandle, impl Future<Output = ()> + Send + 'static) {
    let (sender, mut receiver) = mpsc::channel(queue);
    let run = async move {
        let mut batch = Vec::new();
        while let Some(1..) = closed
            .run_until_cancelled(receiver.recv_many(&mut batch, BATCH))
            .await
        {
            let count = batch.len() as u64;
            if let Err(refusal) = port.pass_on(std::mem::take(&mut batch)).await {
                metrics::counter!("flare_access_gateway_signals_lost_total").increment(count);
                tracing::debug!(%refusal, "signals were not passed on");
            }
        }
    };
    (SignalsHandle { queue: sender }, run)
}
