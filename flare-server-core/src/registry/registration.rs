use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

/// What a process says is waited for no longer than this: a registry that is away keeps nobody from draining.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a registered process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It is there, and not ready yet.
    Registering,
    /// It answers.
    Serving,
    /// It ends: what it has begun it finishes, and it takes nothing else.
    Draining,
}

/// A process's entry in the registry, for as long as this is held. Dropped: it is taken out.
#[derive(Debug)]
pub struct Registration {
    health: watch::Sender<Health>,
    recorded: watch::Receiver<Option<Health>>,
}

/// The registry does not know yet; it will when it answers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry did not record within {DEADLINE:?} that this process is {0:?}")]
pub struct Unrecorded(pub Health);

/// The adapter's side of a [`Registration`].
#[derive(Debug)]
pub struct Registrant {
    /// What is to be recorded. Closed: the process leaves.
    pub health: watch::Receiver<Health>,
    recorded: watch::Sender<Option<Health>>,
}

impl Registration {
    /// A registration, and what its adapter keeps of it until it has been taken out.
    pub fn pair() -> (Self, Registrant) {
        let (health, wanted) = watch::channel(Health::Registering);
        let (recorded, is_recorded) = watch::channel(None);
        let registration = Self {
            health,
            recorded: is_recorded,
        };
        let registrant = Registrant {
            health: wanted,
            recorded,
        };
        (registration, registrant)
    }

    /// One that nobody records: others write this registry's entries.
    pub fn unheard() -> Self {
        Self::pair().0
    }

    /// Says how the process is, and waits until the registry has it. Whoever drains says so first, and ends when this has returned.
    ///
    /// # Errors
    /// If the registry has not got it in time. It is told as soon as it answers, all the same.
    pub async fn say(&self, health: Health) -> Result<(), Unrecorded> {
        self.health.send_replace(health);
        let mut recorded = self.recorded.clone();
        match timeout(DEADLINE, recorded.wait_for(|it| *it == Some(health))).await {
            // Without an adapter there is nobody to wait for.
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(_) => Err(Unrecorded(health)),
        }
    }

    /// Takes the entry out, and waits until it is, or the registry has not answered for long.
    pub async fn leave(self) {
        let Self {
            health,
            mut recorded,
        } = self;
        drop(health);
        let gone = async { while recorded.changed().await.is_ok() {} };
        if timeout(DEADLINE, gone).await.is_err() {
            tracing::warn!(
                "the registry does not answer: this process's entry goes with its lease"
            );
        }
    }
}

impl Registrant {
    /// The registry has it.
    pub fn record(&self, health: Health) {
        self.recorded.send_replace(Some(health));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_something_waits_for_the_registry_but_not_for_ever() {
        assert_eq!(Registration::unheard().say(Health::Serving).await, Ok(()));
        let (registration, registrant) = Registration::pair();
        assert_eq!(
            registration.say(Health::Draining).await,
            Err(Unrecorded(Health::Draining))
        );
        registrant.record(Health::Draining);
        assert_eq!(registration.say(Health::Draining).await, Ok(()));
        registration.leave().await;
        assert!(registrant.health.has_changed().is_err(), "it has left");
    }
}
