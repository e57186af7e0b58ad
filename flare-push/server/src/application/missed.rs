//! Signals that were dropped, and whom that leaves behind.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use flare_server_core::shutdown::Shutdown;
use tokio::sync::Notify;

use super::signal::{Audience, PassOn, Signal};

/// Users in one look-up.
const USERS_AT_ONCE: usize = 500;

/// Users who did something of which their other devices were not told, as a read mark or a setting. Nothing else tells them: so they are told to
/// sync their inboxes. Whatever else a signal says is said again, or with the next.
pub struct Missed {
    who: Mutex<Who>,
    max_users: usize,
    added: Notify,
}

enum Who {
    /// These (tenant, user).
    Users(HashSet<(String, String)>),
    /// More than are remembered.
    Everybody,
}

impl Default for Who {
    fn default() -> Self {
        Self::Users(HashSet::new())
    }
}

impl Missed {
    /// Remembers at most so many users; where there are more, everybody is told.
    pub fn new(max_users: usize) -> Self {
        Self {
            who: Mutex::default(),
            max_users,
            added: Notify::new(),
        }
    }

    /// Takes note of a signal that does not reach its audience.
    pub fn dropped(&self, signal: &Signal) {
        metrics::counter!("flare_push_signals_dropped_total").increment(1);
        if signal.audience == Audience::Participants {
            return;
        }
        let mut who = self.who();
        if let Who::Users(users) = &mut *who {
            let user = (signal.conversation.tenant.clone(), signal.user.clone());
            if users.len() < self.max_users || users.contains(&user) {
                users.insert(user);
            } else {
                *who = Who::Everybody;
            }
        }
        drop(who);
        self.added.notify_one();
    }

    /// Tells who missed something, until the process drains. What is not told by then, the streams tell that open when it starts again.
    pub async fn tell(&self, pass_on: &PassOn, shutdown: &Shutdown) {
        while shutdown.or_drain(self.added.notified()).await.is_some() {
            let who = mem::take(&mut *self.who());
            match who {
                Who::Users(users) => {
                    let users: Vec<_> = users.into_iter().collect();
                    let telling = async {
                        for some in users.chunks(USERS_AT_ONCE) {
                            tell(some, pass_on).await;
                        }
                    };
                    shutdown.or_drain(telling).await;
                }
                Who::Everybody => pass_on.gateways.start_over(),
            }
        }
    }

    fn who(&self) -> MutexGuard<'_, Who> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when it is known where they are connected, and they are told.
async fn tell(users: &[(String, String)], pass_on: &PassOn) {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
        .build();
    while let Err(error) = pass_on.hint(users).await {
        tracing::debug!(%error, users = users.len(), "users cannot be told to sync yet");
        let pause = pauses.next().unwrap_or(Duration::from_secs(5));
        tokio::time::sleep(pause).await;
    }
}
