//! Gathers what devices acknowledge, and stores it now and then.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flare_proto::common::ErrorCode;
use flare_server_core::error::Refusal;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::ports::PositionStore;
use crate::domain::{Identity, positions::Positions};

/// Positions in one call.
const BATCH: usize = 1_000;

/// What is gathered.
pub struct PositionGatherer {
    store: Arc<dyn PositionStore>,
    positions: Mutex<Positions>,
    begun: Notify,
    every: Duration,
}

impl PositionGatherer {
    /// Holds at most `max`, and stores them `every` so often.
    pub fn new(store: Arc<dyn PositionStore>, max: usize, every: Duration) -> Self {
        Self {
            store,
            positions: Mutex::new(Positions::new(max)),
            begun: Notify::new(),
            every,
        }
    }

    /// Takes what a device acknowledges.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: too many wait, of the device or in all; names the first position that was not taken. Those before it were.
    pub fn note<'a>(
        &self,
        identity: &Arc<Identity>,
        acknowledged: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<(), Refusal> {
        let mut positions = self.positions();
        let was_empty = positions.is_empty();
        for (conversation, seq) in acknowledged {
            positions
                .note(identity, conversation, seq)
                .map_err(|error| {
                    let message =
                        format!("{error}: {conversation} and what follows it is not taken");
                    Refusal::new(ErrorCode::ResourceExhausted, message)
                        .with_field("positions")
                        .with_retry_after(self.every)
                })?;
        }
        if was_empty {
            self.begun.notify_one();
        }
        Ok(())
    }

    /// Stores what is gathered until `closed`, and then what is left.
    pub async fn run(&self, closed: CancellationToken) {
        loop {
            let begun = async {
                self.begun.notified().await;
                sleep(self.every).await;
            };
            let ends = closed.run_until_cancelled(begun).await.is_none();
            self.store().await;
            let left = self.positions().len();
            if ends {
                metrics::counter!("flare_access_gateway_positions_lost_total")
                    .increment(left as u64);
                return;
            }
            if left > 0 {
                self.begun.notify_one();
            }
        }
    }

    async fn store(&self) {
        let waiting = self.positions().waiting();
        for batch in waiting.chunks(BATCH) {
            match self.store.put(batch).await {
                Ok(taken) => {
                    let mut positions = self.positions();
                    let taken = batch.iter().zip(taken).filter(|(_, taken)| *taken);
                    taken.for_each(|(position, _)| positions.stored(position));
                }
                Err(refusal) => {
                    tracing::warn!(%refusal, "positions were not stored; trying again");
                    return;
                }
            }
        }
    }

    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::*;
    use crate::domain::positions::{Acknowledged, MAX_OF_A_DEVICE};

    /// Takes positions up to a seq.
    struct Store {
        up_to: u64,
        taken: watch::Sender<Vec<Acknowledged>>,
    }

    #[async_trait]
    impl PositionStore for Store {
        async fn put(&self, positions: &[Acknowledged]) -> Result<Vec<bool>, Refusal> {
            let is_taken = |it: &Acknowledged| it.seq <= self.up_to;
            let taken = positions.iter().filter(|it| is_taken(it)).cloned();
            self.taken.send_modify(|all| all.extend(taken));
            Ok(positions.iter().map(is_taken).collect())
        }
    }

    fn device(name: &str) -> Arc<Identity> {
        Arc::new(Identity {
            tenant: "default".into(),
            user: "alice".into(),
            device: name.into(),
        })
    }

    fn gatherer(up_to: u64) -> (Arc<Store>, PositionGatherer) {
        let taken = watch::Sender::default();
        let store = Arc::new(Store { up_to, taken });
        let every = Duration::from_millis(1);
        (
            Arc::clone(&store),
            PositionGatherer::new(store, 1_000_000, every),
        )
    }

    #[tokio::test]
    async fn what_is_not_taken_is_put_again_and_holds_nothing_up() {
        let (store, gatherer) = gatherer(5);
        let phone = device("phone");
        let closed = CancellationToken::new();
        let noting = async {
            let two = [("c", 6), ("d", 5)].into_iter();
            gatherer.note(&phone, two).expect("room");
            let mut taken = store.taken.subscribe();
            let d = taken.wait_for(|it| !it.is_empty()).await.expect("stored");
            assert_eq!(d.iter().map(|it| it.seq).collect::<Vec<_>>(), [5]);
            drop(d);
            gatherer.note(&phone, [("e", 4)].into_iter()).expect("room");
            let e = taken.wait_for(|it| it.len() > 1).await.expect("stored");
            assert_eq!(e.iter().map(|it| it.seq).collect::<Vec<_>>(), [5, 4]);
            drop(e);
            closed.cancel();
        };
        tokio::join!(gatherer.run(closed.clone()), noting);
        let waiting = gatherer.positions().waiting();
        assert_eq!(waiting.iter().map(|it| it.seq).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_device_whose_positions_fill_its_room_is_refused_alone_and_told_which() {
        let (_, gatherer) = gatherer(5);
        let made_up: Vec<_> = (0..=MAX_OF_A_DEVICE)
            .map(|index| format!("made-up-{index}"))
            .collect();
        let refusal = gatherer
            .note(&device("phone"), made_up.iter().map(|it| (&**it, 1)))
            .expect_err("is refused");
        assert_eq!(refusal.code, ErrorCode::ResourceExhausted);
        assert!(refusal.retry_after.is_some());
        let last = &made_up[MAX_OF_A_DEVICE];
        assert!(refusal.message.contains(last), "{refusal}");
        let other = gatherer.note(&device("laptop"), [("c", 1)].into_iter());
        assert_eq!(other, Ok(()));
    }
}
