//! The runtime of a binary.

use std::{future::Future, io, time::Duration};

/// What still runs then may be stuck for ever, as on a disk without room.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does a binary's work to its end, on as many threads as there are cores. What it leaves behind is waited for no longer than a second: who has failed,
/// or was killed, ends.
///
/// # Errors
/// The system gives no threads.
pub fn run_to_end<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(PATIENCE);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{RecvTimeoutError, sync_channel},
        thread,
    };

    use super::*;

    #[test]
    fn nobody_waits_for_what_is_stuck() {
        let (stuck, never) = sync_channel::<()>(1);
        let (ended, end) = sync_channel(1);
        thread::spawn(move || {
            let work = async {
                tokio::task::spawn_blocking(move || never.recv());
                7
            };
            let _ = ended.send(run_to_end(work).ok());
        });
        let outcome = end.recv_timeout(Duration::from_secs(10));
        assert_eq!(outcome, Ok::<_, RecvTimeoutError>(Some(7)));
        drop(stuck);
    }
}
