//! Patience with what does not answer, and who has to have it.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use flare_server_core::event_bus::PublishError;

use super::ports::CursorsUnavailable;

/// Something outside the process that may not answer for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The message log.
    Log,
    /// The message store.
    Store,
    /// The event bus.
    Bus,
    /// The published cursors.
    Cursors,
}

impl Of {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Store, Self::Bus, Self::Cursors];

    const fn label(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Store => "store",
            Self::Bus => "bus",
            Self::Cursors => "published_cursors",
        }
    }
}

/// Who waits at the moment for something that does not answer.
#[derive(Debug, Default)]
pub struct Outages(Mutex<[u32; Of::ALL.len()]>);

impl Outages {
    /// Says of each whether it answers.
    pub fn show(&self) {
        let waiting = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, count) in Of::ALL.into_iter().zip(waiting) {
            show_waiting(of, count);
        }
    }

    /// How many wait for it.
    pub fn waiting(&self, of: Of) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[of as usize]
    }

    /// Asks again, after growing pauses, while the answer is one that may pass. Nothing is lost if it is dropped between two calls.
    pub(super) async fn patiently<T, E, F>(
        &self,
        of: Of,
        may_pass: impl FnMut(&E) -> bool,
        call: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .without_max_times()
            .with_jitter();
        let mut waits = None;
        call.retry(pauses)
            .when(may_pass)
            .notify(|error, _| {
                waits.get_or_insert_with(|| Waiting::begun(self, of, error));
            })
            .await
    }
}

/// One who waits: counted until he has his answer, or gives up.
struct Waiting<'a> {
    outages: &'a Outages,
    of: Of,
}

impl<'a> Waiting<'a> {
    fn begun(outages: &'a Outages, of: Of, error: &dyn Display) -> Self {
        let this = Self { outages, of };
        if this.count(|it| it + 1) == 1 {
            let of = of.label();
            tracing::warn!(of, %error, "no answer; asking again until there is one");
        }
        this
    }

    fn count(&self, change: impl FnOnce(u32) -> u32) -> u32 {
        let mut waiting = self
            .outages
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = &mut waiting[self.of as usize];
        *count = change(*count);
        show_waiting(self.of, *count);
        *count
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.count(|it| it.saturating_sub(1)) == 0 {
            tracing::info!(of = self.of.label(), "nobody waits for an answer any more");
        }
    }
}

fn show_waiting(of: Of, waiting: u32) {
    metrics::gauge!("flare_storage_writer_waiting", "of" => of.label()).set(f64::from(waiting));
}

/// Whether the same records may be published later. What the bus will never take stops the partition: nothing is passed over.
pub(super) fn publishing_may_pass(error: &PublishError) -> bool {
    match error {
        PublishError::Unknown { .. }
        | PublishError::NoRoom { .. }
        | PublishError::Failed { .. } => true,
        PublishError::TooLarge { .. }
        | PublishError::View(_)
        | PublishError::BadName(_)
        | PublishError::Closed(_) => false,
    }
}

/// A cursor that cannot be had now is asked for until it can.
pub(super) fn cursors_may_pass(_: &CursorsUnavailable) -> bool {
    true
}
