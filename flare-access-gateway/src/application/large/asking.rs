//! Asks flare-session where users are.

use std::sync::Arc;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;

use super::LargeConversations;
use crate::application::ports::Memberships;

/// Users of one question.
const AT_ONCE: usize = 500;
/// Until those are asked for again whose answer was not complete: a change of theirs has its place by then.
const SETTLES_IN: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl LargeConversations {
    /// Asks for users who are to be asked for, until `closed`.
    pub async fn run_asking(&self, port: Arc<dyn Memberships>, closed: CancellationToken) {
        closed.run_until_cancelled(self.ask_on(&*port)).await;
    }

    async fn ask_on(&self, port: &dyn Memberships) {
        let growing = ExponentialBuilder::default()
            .with_min_delay(SETTLES_IN)
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = growing.build();
        loop {
            let next = self.directory().ask(AT_ONCE);
            let Some(question) = next else {
                self.wait_for_somebody(SETTLES_IN).await;
                continue;
            };
            match port.large(&question.users).await {
                Ok(answer) => {
                    pauses = growing.build();
                    let before = self.count();
                    let answered =
                        self.directory()
                            .answer(&question, answer.places, &answer.incomplete);
                    self.look_at_interest(before);
                    self.has_no_room(&answered.no_room);
                    self.give(answered.hints);
                    self.answered.send_replace(());
                }
                Err(refusal) => {
                    tracing::warn!(%refusal, users = question.users.len(), "large conversations of users are not known; asking again");
                    self.directory().failed(question);
                    self.answered.send_replace(());
                    sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                    self.directory().ask_again();
                }
            }
        }
    }

    /// Returns when somebody is to be asked for: whose answer was not complete, after a pause.
    async fn wait_for_somebody(&self, pause: Duration) {
        if !self.directory().has_incomplete() {
            return self.to_ask.notified().await;
        }
        tokio::select! {
            () = self.to_ask.notified() => {}
            () = sleep(pause) => self.directory().ask_again(),
        }
    }
}
