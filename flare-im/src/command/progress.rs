//! How far a long command is, on standard error. On a terminal alone: elsewhere nothing is shown.

use std::{borrow::Cow, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// How often what cannot be counted shows that it goes on.
const TICK: Duration = Duration::from_millis(120);

/// Work of `length` steps, with the time that is left. `what` is a word such as "connecting".
pub(super) fn counted(what: &'static str, length: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {eta}")?;
    let progress = ProgressBar::new(length)
        .with_style(style)
        .with_message(what);
    progress.tick();
    Ok(progress)
}

/// Work whose end nobody knows, with the time that it has taken.
pub(super) fn uncounted(what: impl Into<Cow<'static, str>>) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")?;
    let spinner = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(what);
    // At once, before there is a thread that does it: that may come too late for what is short.
    spinner.tick();
    spinner.enable_steady_tick(TICK);
    Ok(spinner)
}

/// Holds still for so many seconds, and shows how many have passed.
pub(super) async fn seconds(what: &'static str, seconds: u64) -> anyhow::Result<()> {
    let progress = counted(what, seconds)?;
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}
