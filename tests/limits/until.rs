//! Waiting for what will be so.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

/// What is not so by then will not be so.
const DEADLINE: Duration = Duration::from_secs(20);

/// Looks, by asking the server each time, until there is something to see.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
    }
}
